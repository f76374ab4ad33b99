package cacheruntime

import "slices"

// Tags collects the tags that an entry depends on, or that a write invalidates.
// It belongs to the function it is handed to.
type Tags struct {
	slots  []uint32
	write  bool // tags of a write, else of an entry
	result resultState
	blank  bool // one of the tags added has an argument that may not have been filled in
	traced bool
	names  []string // rendered, if traced
}

// resultState is what is known about the result of a write.
type resultState uint8

const (
	resultPending resultState = iota // the call has not been made
	resultKnown                      // it succeeded
	resultUnknown                    // it failed, panicked or did not return; or it is guarded and has not been made
)

// Add adds tags.
func (t *Tags) Add(tags ...Tag) {
	for i := range tags {
		if t.write {
			t.slots = tags[i].appendInvalidation(t.slots)
			t.blank = t.blank || tags[i].blank
		} else {
			t.slots = tags[i].appendDependency(t.slots)
		}
		if t.traced {
			t.names = append(t.names, tags[i].String())
		}
	}
}

// Try runs add, which adds tags. If it panics, fallback is added to what it got
// to add, and the panic ends.
//
// What add looks at may be there for the call to fill in, such as the ID of a row
// that is inserted. So if it comes upon an argument that is zero, empty or nil,
// fallback is added as well: after a call that failed, panicked or did not return,
// and before a guarded one.
func (t *Tags) Try(fallback Tag, add func()) {
	done := false
	defer func() {
		if !done || t.blank && t.result == resultUnknown {
			t.Add(fallback)
		}
		if !done {
			recover()
		}
	}()
	t.blank = false
	add()
	done = true
}

// Result adds tags that depend on the result of a write. Before the call it does
// nothing, or adds fallback if the write is guarded; after a call that succeeded
// it is like Try; after one that failed, panicked or did not return it adds
// fallback.
func (t *Tags) Result(fallback Tag, add func()) {
	switch t.result {
	case resultKnown:
		t.Try(fallback, add)
	case resultUnknown:
		t.Add(fallback)
	}
}

// sortedNames returns the rendered tags without duplicates.
func (t *Tags) sortedNames() []string {
	slices.Sort(t.names)
	return slices.Compact(t.names)
}
