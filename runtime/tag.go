package cacheruntime

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// A Tag names a part of the data that reads depend on and writes invalidate:
// one instance, such as post(7), all of them, post(*), or those that agree in
// some arguments, listing(7, *). Two tags of one name meet if they agree in
// every argument that both give.
//
// Tags come from generated functions. They are values: small, comparable, and
// nothing is registered or kept for them.
type Tag struct {
	name  string
	hash  [maxTagArgs]uint64 // of the arguments that are given
	sets  uint16             // the partial argument sets in use: bit s for set s
	given uint8              // set of the arguments that are given
	count uint8              // number of arguments that are told apart
	bare  bool               // has no parameters
	blank bool               // an argument is zero, empty or nil

	cut     bool // text is not all of the encoded arguments
	textLen uint8
	text    [24]byte // encoded arguments, to render them
}

// maxTagArgs is how many arguments of a tag can be told apart.
const maxTagArgs = 4

// Tag makes the tag of that name whose arguments are the key's, and releases the
// key. For a key that has failed it is [AllTag]: to depend on all, or to
// invalidate all, is right whatever the argument is.
func (k *Key) Tag(name string) Tag {
	defer k.Release()
	if k.failed {
		return AllTag(name)
	}
	return k.tag(name, k.buf[k.args:])
}

// PatternTag makes the tag of that name whose arguments are the key's, each
// ended by [Key.Next] or [Key.Any], and releases the key. For a key that has
// failed it is [AllTag].
//
// The sets are the partial argument sets with which the tag is used anywhere,
// other than all and none: bit i of a set is argument i. Every tag of the name
// must be made with the same sets. A tag of more than four arguments has none,
// and with a * among its arguments it stands for all tags of its name.
func (k *Key) PatternTag(name string, sets ...uint8) Tag {
	defer k.Release()
	if k.failed {
		return AllTag(name, sets...)
	}
	return k.patternTag(name, partialSets(sets))
}

// tag makes a tag whose arguments are told apart as a whole only.
func (k *Key) tag(name string, args []byte) Tag {
	t := Tag{name: name}
	t.setText(args)
	if len(args) == 0 {
		t.bare = true
		return t
	}
	t.count = 1
	t.given = 1
	t.blank = hasBlank(args)
	t.hash[0] = xxhash.Sum64(args)
	return t
}

// patternTag makes a tag whose arguments are told apart.
func (k *Key) patternTag(name string, sets uint16) Tag {
	args := k.buf[k.args:]
	if k.parts > maxTagArgs && !k.wild || k.parts == 0 {
		return k.tag(name, args)
	}
	t := Tag{name: name, sets: sets, blank: hasBlank(args)}
	t.setText(args)
	if k.parts > maxTagArgs {
		return t
	}
	t.count = uint8(k.parts)
	t.given = (1<<t.count - 1) &^ k.any
	start := k.args
	for i, end := range k.ends[:k.parts] {
		if t.given>>i&1 == 1 {
			t.hash[i] = xxhash.Sum64(k.buf[start:end])
		}
		start = end
	}
	return t
}

// hasBlank reports whether encoded arguments hold a number that is zero, a string
// or bytes that are empty or all zero, or nil. It need not know where one argument
// ends: also a part of one that is blank may be what a call is to fill in.
func hasBlank(args []byte) bool {
	number := func() uint64 {
		n, size := binary.Uvarint(args)
		args = args[max(size, 0):]
		return n
	}
	for len(args) > 0 {
		kind := args[0]
		args = args[1:]
		switch kind {
		case kindNil:
			return true
		case kindInt, kindUint:
			if number() == 0 {
				return true
			}
		case kindString, kindText, kindBytes, kindBinary, kindInterface:
			data := args[:0]
			if n := number(); n <= uint64(len(args)) {
				data, args = args[:n], args[n:]
			}
			if len(bytes.Trim(data, "\x00")) == 0 {
				return true
			}
		case kindTime:
			number()
			number()
		case kindList, kindStruct, kindMap:
			number()
		case kindFloat32, kindComplex64, kindFloat64, kindComplex128:
			args = args[min(floatSizes[kind], len(args)):]
		}
	}
	return false
}

var floatSizes = map[byte]int{kindFloat32: 4, kindFloat64: 8, kindComplex64: 8, kindComplex128: 16}

// AllTag is the tag that stands for all tags of that name. The sets are those of
// [Key.PatternTag].
func AllTag(name string, sets ...uint8) Tag {
	return allTag(name, partialSets(sets))
}

func allTag(name string, sets uint16) Tag {
	t := Tag{name: name, sets: sets}
	t.setText([]byte{kindAny})
	return t
}

func partialSets(sets []uint8) uint16 {
	var all uint16
	for _, set := range sets {
		if set >= 1<<maxTagArgs {
			panic("cacheruntime: a partial argument set has more than four arguments")
		}
		all |= 1 << set
	}
	return all
}

func (t *Tag) setText(args []byte) {
	n := copy(t.text[:], args)
	t.textLen = uint8(n)
	t.cut = n < len(args)
}

// String renders the tag for people: "blog.post(7)", "blog.post(*)",
// "blog.feed". Long arguments are cut.
func (t Tag) String() string {
	var b strings.Builder
	b.WriteString(shortName(t.name))
	if t.bare {
		return b.String()
	}
	b.WriteByte('(')
	renderValues(&b, t.text[:t.textLen], t.cut)
	b.WriteByte(')')
	return b.String()
}

// A tag meets others of its name by way of words in the table. There is one for
// each pair of a dependency's argument set d and an invalidation's set i, and
// for the values of the arguments in both: a dependency looks at its words for
// every i in use, an invalidation sets its words for every d in use, so they
// have a word in common if they agree in the arguments that both give.
//
// Two merges lose nothing. A dependency on all tags meets every invalidation of
// the name: one word, set by all of them, is enough (d = none). An invalidation
// of all tags meets every dependency: one word, looked at by all of them, is
// enough (i = none).
//
// The words must be the same on every machine and in every version.

// everySet stands for the merged side of such a pair.
const everySet = 0xff

// appendDependency appends the slots of the words that an entry which depends on
// the tag looks at.
func (t *Tag) appendDependency(slots []uint32) []uint32 {
	name := xxhash.Sum64String(t.name)
	if t.given == 0 {
		return append(slots, t.slot(name, 0, everySet))
	}
	slots = append(slots, t.slot(name, everySet, 0))
	for set := uint8(1); set < 1<<maxTagArgs; set++ {
		if t.uses(set) {
			slots = append(slots, t.slot(name, t.given, set))
		}
	}
	return slots
}

// appendInvalidation appends the slots of the words that an invalidation of the
// tag sets.
func (t *Tag) appendInvalidation(slots []uint32) []uint32 {
	name := xxhash.Sum64String(t.name)
	slots = append(slots, t.slot(name, 0, everySet))
	if t.given == 0 {
		return append(slots, t.slot(name, everySet, 0))
	}
	for set := uint8(1); set < 1<<maxTagArgs; set++ {
		if t.uses(set) {
			slots = append(slots, t.slot(name, set, t.given))
		}
	}
	return slots
}

// uses reports whether an argument set, other than none, is in use.
func (t *Tag) uses(set uint8) bool {
	return set == 1<<t.count-1 || t.sets>>set&1 == 1
}

// slot is the hash of the word for one pair of argument sets.
func (t *Tag) slot(name uint64, dependency, invalidation uint8) uint32 {
	var buf [8 + 2 + 8*maxTagArgs]byte
	data := binary.LittleEndian.AppendUint64(buf[:0], name)
	data = append(data, dependency, invalidation)
	for i, hash := range t.hash {
		if dependency&invalidation>>i&1 == 1 {
			data = binary.LittleEndian.AppendUint64(data, hash)
		}
	}
	return uint32(xxhash.Sum64(data))
}
