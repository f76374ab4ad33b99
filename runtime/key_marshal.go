package cacheruntime

import (
	"encoding"
	"reflect"
	"strings"
)

// AppendBinary appends what the value's AppendBinary writes. An error or a panic
// of it fails the key; so does a nil interface.
func (k *Key) AppendBinary(v encoding.BinaryAppender) {
	defer k.Recover()
	data, err := v.AppendBinary(k.scratch[:0])
	k.scratch = append(k.scratch[:0], data...) // data may be memory of the value's own
	k.marshaled(kindBinary, data, err)
}

// MarshalBinary appends what the value's MarshalBinary returns. An error or a
// panic of it fails the key; so does a nil interface.
func (k *Key) MarshalBinary(v encoding.BinaryMarshaler) {
	defer k.Recover()
	data, err := v.MarshalBinary()
	k.marshaled(kindBinary, data, err)
}

// AppendText appends what the value's AppendText writes. An error or a panic of
// it fails the key; so does a nil interface.
func (k *Key) AppendText(v encoding.TextAppender) {
	defer k.Recover()
	data, err := v.AppendText(k.scratch[:0])
	k.scratch = append(k.scratch[:0], data...) // data may be memory of the value's own
	k.marshaled(kindText, data, err)
}

// MarshalText appends what the value's MarshalText returns. An error or a panic
// of it fails the key; so does a nil interface.
func (k *Key) MarshalText(v encoding.TextMarshaler) {
	defer k.Recover()
	data, err := v.MarshalText()
	k.marshaled(kindText, data, err)
}

func (k *Key) marshaled(kind byte, data []byte, err error) {
	if err != nil {
		k.failed = true
		return
	}
	k.bytes(kind, data)
}

// Interface appends a value of an interface type: the name of its dynamic type,
// and what the best of its standard marshalers writes (AppendBinary,
// MarshalBinary, AppendText, MarshalText, in this order). A nil interface is a
// value of its own. The key fails for a nil pointer, for a type without a name
// and for a type without a marshaler.
//
// Types are told apart by package path and name. Types of one name that are
// declared inside different functions of one package are not told apart.
func (k *Key) Interface(v any) {
	if v == nil {
		k.buf = append(k.buf, kindNil)
		return
	}
	value := reflect.ValueOf(v)
	if value.Kind() == reflect.Pointer && value.IsNil() {
		k.failed = true
		return
	}
	stars := 0
	t := value.Type()
	for t.Name() == "" && t.Kind() == reflect.Pointer {
		stars++
		t = t.Elem()
	}
	if t.Name() == "" {
		k.failed = true
		return
	}
	k.bytes(kindInterface, []byte(strings.Repeat("*", stars)+t.PkgPath()+"."+t.Name()))
	switch v := v.(type) {
	case encoding.BinaryAppender:
		k.AppendBinary(v)
	case encoding.BinaryMarshaler:
		k.MarshalBinary(v)
	case encoding.TextAppender:
		k.AppendText(v)
	case encoding.TextMarshaler:
		k.MarshalText(v)
	default:
		k.failed = true
	}
}
