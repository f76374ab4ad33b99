// Lets identity.go declare a function without a body.
