package cachetest

import (
	"maps"
	"math/rand/v2"
	"slices"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A logState is what a server keeps of a log: records, and what they add up to.
type logState struct {
	epoch   uint64             // 0: there is nothing but marks
	run     cacheruntime.LogID // of the server when the epoch began
	torn    bool               // a part of it was evicted
	records []cacheruntime.LogRecord
	words   map[uint32]uint64
	cleared uint64
	marks   map[cacheruntime.LogID]cacheruntime.LogMark
}

func newLogState() *logState {
	return &logState{words: map[uint32]uint64{}, marks: map[cacheruntime.LogID]cacheruntime.LogMark{}}
}

// clone returns a copy. Records and marks are never modified, so they are shared.
func (l *logState) clone() *logState {
	copied := *l
	copied.records = slices.Clone(l.records)
	copied.words = maps.Clone(l.words)
	copied.marks = maps.Clone(l.marks)
	return &copied
}

// begin begins an epoch. It keeps the marks.
func (l *logState) begin(epoch uint64, run, genesis cacheruntime.LogID) {
	l.epoch, l.run, l.torn = epoch, run, false
	l.records = []cacheruntime.LogRecord{{Number: 1, ID: genesis}}
	l.words = map[uint32]uint64{}
	l.cleared = 0
}

// holds reports whether the condition of a record holds.
func (l *logState) holds(record cacheruntime.LogRecord) bool {
	switch record.OnlyIf {
	case cacheruntime.IfOutstanding:
		if len(record.Release) != 1 {
			return false
		}
		mark, ok := l.marks[record.Release[0].ID]
		return ok && mark.Generation == record.Release[0].Generation
	case cacheruntime.IfAbsent:
		_, ok := l.marks[record.Mark.ID]
		return !ok
	}
	return true
}

// add adds a record whose number is that after the head.
func (l *logState) add(record cacheruntime.LogRecord) {
	l.records = append(l.records, record)
	for _, release := range record.Release {
		mark, ok := l.marks[release.ID]
		if !ok {
			continue
		}
		delete(l.marks, release.ID)
		l.invalidate(record.Number, mark.Slots, mark.All)
	}
	l.invalidate(record.Number, record.Slots, record.All)
	if record.Mark.ID != (cacheruntime.LogID{}) {
		l.marks[record.Mark.ID] = record.Mark
	}
}

func (l *logState) invalidate(number uint64, slots []uint32, all bool) {
	for _, slot := range slots {
		l.words[slot] = number
	}
	if all {
		l.cleared = number
	}
}

// head is the position of the last record.
func (l *logState) head() cacheruntime.LogPosition {
	if len(l.records) == 0 {
		return cacheruntime.LogPosition{}
	}
	last := l.records[len(l.records)-1]
	return cacheruntime.LogPosition{Epoch: l.epoch, Number: last.Number, ID: last.ID}
}

// after tells what is in the log after a position, up to a number of records.
func (l *logState) after(from cacheruntime.LogPosition, most int) cacheruntime.LogReply {
	reply := cacheruntime.LogReply{Head: l.head()}
	first := l.records[0].Number
	if from.Epoch != l.epoch || from.Number < first || from.Number > reply.Head.Number {
		return reply
	}
	at := int(from.Number - first)
	if l.records[at].ID != from.ID {
		return reply
	}
	reply.Known = true
	rest := l.records[at+1:]
	for _, record := range rest[:min(len(rest), most)] {
		reply.Records = append(reply.Records, cloneRecord(record))
	}
	return reply
}

// snapshot is the state as callers get it.
func (l *logState) snapshot() cacheruntime.LogSnapshot {
	snapshot := cacheruntime.LogSnapshot{At: l.head(), Cleared: l.cleared, Marks: l.outstanding()}
	if len(l.words) > 0 {
		snapshot.Words = make([]uint64, slices.Max(slices.Collect(maps.Keys(l.words)))+1)
	}
	for slot, number := range l.words {
		snapshot.Words[slot] = number
	}
	return snapshot
}

// outstanding returns the marks, in the order of their ids.
func (l *logState) outstanding() []cacheruntime.LogMark {
	var marks []cacheruntime.LogMark
	for _, mark := range l.marks {
		mark.Slots = slices.Clone(mark.Slots)
		marks = append(marks, mark)
	}
	slices.SortFunc(marks, func(a, b cacheruntime.LogMark) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return marks
}

// trim drops the oldest records of a log and keeps n, but never none.
func (l *logState) trim(n int) {
	l.records = slices.Clone(l.records[max(0, len(l.records)-max(n, 1)):])
}

func cloneRecord(record cacheruntime.LogRecord) cacheruntime.LogRecord {
	record.Slots = slices.Clone(record.Slots)
	record.Mark.Slots = slices.Clone(record.Mark.Slots)
	record.Release = slices.Clone(record.Release)
	return record
}

func newLogID() (id cacheruntime.LogID) {
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	return id
}

// A server is the log on a machine that can be restarted and has a replica, which
// lags. Nothing of it is safe for concurrent use.
type server struct {
	run     cacheruntime.LogID
	longest int // log, in records; 0 without a limit
	log     *logState
	saved   *logState
	replica *logState             // the log as it was before the steps
	steps   []func(log *logState) // the last changes, oldest first
}

// maxLag is how many steps a replica can lag behind.
const maxLag = 1024

func newServer() *server {
	return &server{run: newLogID(), log: newLogState(), saved: newLogState(), replica: newLogState()}
}

// change makes a change, which the replica is told of later, so that at least the last
// maxLag are left for a failover to lose. The step must do the same to every log that is in
// the same state.
func (s *server) change(step func(log *logState)) {
	step(s.log)
	s.steps = append(s.steps, step)
	if len(s.steps) < 2*maxLag {
		return
	}
	for _, step := range s.steps[:maxLag] {
		step(s.replica)
	}
	s.steps = slices.Clone(s.steps[maxLag:])
}

// sound reports whether the log may be read: its parts are there, and it was
// begun by the server that runs now.
func (s *server) sound() bool { return s.log.epoch != 0 && !s.log.torn && s.log.run == s.run }

// begin begins a new epoch.
func (s *server) begin() {
	epoch, genesis, run := max(rand.Uint64(), 1), newLogID(), s.run
	s.change(func(log *logState) { log.begin(epoch, run, genesis) })
}

func (s *server) append(from cacheruntime.LogPosition, record cacheruntime.LogRecord, most int) cacheruntime.LogReply {
	if !s.sound() {
		s.begin()
	}
	appended := s.log.holds(record)
	if appended {
		head := s.log.head()
		record = cloneRecord(record)
		record.Number, record.Previous, record.OnlyIf = head.Number+1, head.ID, cacheruntime.Always
		longest := s.longest
		s.change(func(log *logState) {
			log.add(record)
			if longest > 0 {
				log.trim(longest)
			}
		})
	}
	reply := s.log.after(from, most)
	reply.Appended = appended
	return reply
}

func (s *server) prove(from cacheruntime.LogPosition, most int) cacheruntime.LogReply {
	if !s.sound() {
		return cacheruntime.LogReply{}
	}
	return s.log.after(from, most)
}

func (s *server) snapshot(condemned uint64) cacheruntime.LogSnapshot {
	if !s.sound() || s.log.epoch == condemned {
		s.begin()
	}
	snapshot := s.log.snapshot()
	snapshot.Server = string(s.run[:])
	return snapshot
}

// save saves the log for a restart.
func (s *server) save() { s.saved = s.log.clone() }

// restart begins another run, with the log as it was saved.
func (s *server) restart() { s.become(s.saved.clone()) }

// failOver makes the replica the server, which has not got the last n changes.
func (s *server) failOver(n int) {
	for _, step := range s.steps[:max(0, len(s.steps)-max(n, 0))] {
		step(s.replica)
	}
	s.become(s.replica)
}

func (s *server) become(log *logState) {
	s.run = newLogID()
	s.log, s.replica, s.steps = log, log.clone(), nil
}
