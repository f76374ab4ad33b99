package example

var Plain = 1
