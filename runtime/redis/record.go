package redis

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// What is in the log is bounded, so that nobody who writes into Redis can make a process
// allocate what it does not have. The scripts get these bounds from here: see logScripts.
const (
	format      = 1 // of records, marks and the table, and what they can have: the next three
	maxNumber   = cacheruntime.MaxLogNumber
	maxSlots    = cacheruntime.MaxLogSlots    // of a record or a mark; with more it is of everything
	maxReleases = cacheruntime.MaxLogReleases // of a record
	maxMarks    = 1 << 14                     // of a log
	maxMarked   = 1 << 18                     // slots of all marks of a log; beyond, a mark is of everything
	maxRecords  = 1000                        // of a reply, and one batch of 100 more
	maxReply    = 1 << 20                     // bytes, after which a reply has no more records

	headerSize     = 144 // of the table
	positionOffset = 16  // in it, of epoch, number and ID
	serverOffset   = 64  // in it, to its end

	idSize        = len(cacheruntime.LogID{})
	positionSize  = 8 + 8 + idSize
	prefixSize    = 1 + 8 + idSize     // of a record: version, number, id of the one before
	markSize      = 8 + 8 + 1 + 4      // of a mark without slots
	releaseSize   = idSize + 8         // of the end of a mark: its ID, and the generation
	minBodySize   = idSize + 1 + 4 + 4 // of a record that says nothing
	maxRecordSize = prefixSize + minBodySize + 4*maxSlots + idSize + markSize + 4*maxSlots + releaseSize*maxReleases

	recordVersion = 1

	flagAll  = 1
	flagMark = 2
)

var little = binary.LittleEndian

// appendPosition appends a position as scripts take it.
func appendPosition(b []byte, p cacheruntime.LogPosition) []byte {
	b = little.AppendUint64(b, p.Epoch)
	b = little.AppendUint64(b, p.Number)
	return append(b, p.ID[:]...)
}

// encodeBody returns the body of a record, which is all of it but what Append assigns.
func encodeBody(r cacheruntime.LogRecord) ([]byte, error) {
	slots, all, err := bound(r.Slots, r.All)
	if err != nil {
		return nil, err
	}
	if r.ID == (cacheruntime.LogID{}) {
		return nil, fmt.Errorf("redis: a record without an ID")
	}
	if len(r.Release) > maxReleases {
		return nil, fmt.Errorf("redis: a record with %d releases; there can be %d", len(r.Release), maxReleases)
	}
	marked := r.Mark.ID != (cacheruntime.LogID{})
	var flags byte
	if all {
		flags |= flagAll
	}
	if marked {
		flags |= flagMark
	}

	size := minBodySize + 4*len(slots) + releaseSize*len(r.Release)
	if marked {
		size += idSize + markSize + 4*min(len(r.Mark.Slots), maxSlots)
	}
	b := make([]byte, 0, size)
	b = append(b, r.ID[:]...)
	b = append(b, flags)
	b = appendSlots(b, slots)
	if marked {
		b = append(b, r.Mark.ID[:]...)
		if b, err = appendMark(b, r.Mark); err != nil {
			return nil, err
		}
	}
	b = little.AppendUint32(b, uint32(len(r.Release)))
	for _, release := range r.Release {
		b = append(b, release.ID[:]...)
		b = little.AppendUint64(b, release.Generation)
	}
	return b, nil
}

// appendMark appends a mark as it stands in the hash, where its ID is the field.
func appendMark(b []byte, m cacheruntime.LogMark) ([]byte, error) {
	slots, all, err := bound(m.Slots, m.All)
	if err != nil {
		return nil, err
	}
	if m.Lease <= 0 {
		return nil, fmt.Errorf("redis: a mark with a lease of %v", m.Lease)
	}
	b = little.AppendUint64(b, m.Generation)
	b = little.AppendUint64(b, uint64(m.Lease))
	if all {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return appendSlots(b, slots), nil
}

func appendSlots(b []byte, slots []uint32) []byte {
	b = little.AppendUint32(b, uint32(len(slots)))
	for _, slot := range slots {
		b = little.AppendUint32(b, slot)
	}
	return b
}

// bound returns the slots that are written down, and whether everything is meant: so it
// is if there are too many of them, as each takes time in Redis, which does nothing else
// meanwhile.
func bound(slots []uint32, all bool) ([]uint32, bool, error) {
	if err := checkSlots(slots); err != nil {
		return nil, false, fmt.Errorf("redis: a record cannot be appended: %w", err)
	}
	if len(slots) > maxSlots {
		return nil, true, nil
	}
	return slots, all, nil
}

func checkSlots(slots []uint32) error {
	before := -1
	for _, slot := range slots {
		if int(slot) <= before || slot >= cacheruntime.SharedTableSize {
			return fmt.Errorf("slot %d after slot %d of %d", slot, before, cacheruntime.SharedTableSize)
		}
		before = int(slot)
	}
	return nil
}

// malformed returns the error of what is none of ours.
func malformed(what string) error {
	return fmt.Errorf("%s: %w", what, cacheruntime.ErrMalformed)
}

// A decoder takes bytes that anybody may have written apart. After a failure it
// returns zeros.
type decoder struct {
	rest   string
	failed bool
}

func (d *decoder) take(n int) string {
	if d.failed || n > len(d.rest) {
		d.failed = true
		return ""
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) byte() byte {
	if s := d.take(1); s != "" {
		return s[0]
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	var b [4]byte
	copy(b[:], d.take(4))
	return little.Uint32(b[:])
}

func (d *decoder) uint64() uint64 {
	var b [8]byte
	copy(b[:], d.take(8))
	return little.Uint64(b[:])
}

func (d *decoder) id() (id cacheruntime.LogID) {
	copy(id[:], d.take(idSize))
	return id
}

// number takes the number of a position.
func (d *decoder) number() uint64 {
	n := d.uint64()
	if n > maxNumber {
		d.failed = true
	}
	return n
}

// count takes the number of elements to come, each of that many bytes.
func (d *decoder) count(most, size int) int {
	n := d.uint32()
	if n > uint32(most) || int(n)*size > len(d.rest) {
		d.failed = true
	}
	if d.failed {
		return 0
	}
	return int(n)
}

func (d *decoder) slots() []uint32 {
	n := d.count(maxSlots, 4)
	if n == 0 {
		return nil
	}
	slots := make([]uint32, n)
	for i := range slots {
		slots[i] = d.uint32()
	}
	if checkSlots(slots) != nil {
		d.failed = true
	}
	return slots
}

func (d *decoder) mark(id cacheruntime.LogID) cacheruntime.LogMark {
	m := cacheruntime.LogMark{ID: id, Generation: d.uint64()}
	lease := d.uint64()
	if lease == 0 || lease > math.MaxInt64 || id == (cacheruntime.LogID{}) {
		d.failed = true
	}
	m.Lease = time.Duration(lease)
	all := d.byte()
	if all > 1 {
		d.failed = true
	}
	m.All = all == 1
	m.Slots = d.slots()
	return m
}

// decodeRecord returns the record that an entry of the stream holds.
func decodeRecord(s string) (cacheruntime.LogRecord, error) {
	d := decoder{rest: s}
	version := d.byte()
	r := cacheruntime.LogRecord{Number: d.number(), Previous: d.id(), ID: d.id()}
	flags := d.byte()
	r.All = flags&flagAll != 0
	r.Slots = d.slots()
	if flags&flagMark != 0 {
		r.Mark = d.mark(d.id())
	}
	if n := d.count(maxReleases, releaseSize); n > 0 {
		r.Release = make([]cacheruntime.LogRelease, n)
		for i := range r.Release {
			r.Release[i] = cacheruntime.LogRelease{ID: d.id(), Generation: d.uint64()}
		}
	}
	if d.failed || d.rest != "" || version != recordVersion || r.Number == 0 || flags > flagAll|flagMark ||
		r.ID == (cacheruntime.LogID{}) {
		return cacheruntime.LogRecord{}, malformed("a record")
	}
	return r, nil
}

// decodeMark returns the mark that stands under an ID in the hash.
func decodeMark(id, s string) (cacheruntime.LogMark, error) {
	ids := decoder{rest: id}
	d := decoder{rest: s}
	m := d.mark(ids.id())
	if d.failed || d.rest != "" || ids.failed || ids.rest != "" {
		return cacheruntime.LogMark{}, malformed("a mark")
	}
	return m, nil
}

// decodeWords returns the words of the table, without the zeros at its end. None is of a
// position after the one that the table is of.
func decodeWords(s string, at uint64) ([]uint64, error) {
	if len(s)%8 != 0 || len(s) > 8*cacheruntime.SharedTableSize {
		return nil, malformed("the table")
	}
	for len(s) > 0 && s[len(s)-8:] == "\x00\x00\x00\x00\x00\x00\x00\x00" {
		s = s[:len(s)-8]
	}
	words := make([]uint64, len(s)/8)
	for i := range words {
		if words[i] = little.Uint64([]byte(s[8*i : 8*i+8])); words[i] > at {
			return nil, malformed("a word of the table")
		}
	}
	return words, nil
}
