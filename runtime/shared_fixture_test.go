package cacheruntime_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// A site is rows that several processes read and write, and what these share. Rows are
// numbers that grow: 1 where nothing was written.
type site struct {
	wrap   func(*cachetest.Tier) cacheruntime.Shared // what members join with; nil for the tier itself
	t      *testing.T
	shared *cachetest.Shared

	mu      sync.Mutex
	rows    map[int64]int64
	failure error // of every load, where set
}

// onSite runs a test in a bubble.
func onSite(t *testing.T, test func(t *testing.T, s *site)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, newSite(t))
	})
}

func newSite(t *testing.T) *site {
	return &site{t: t, shared: cachetest.NewShared(t), rows: map[int64]int64{}}
}

func (s *site) row(id int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows[original(id)] + 1, s.failure
}

// copies is from where on ids are of further reads of row 1: each is cached for itself.
const copies = 1000

func original(id int64) int64 {
	if id >= copies {
		return 1
	}
	return id
}

// grow changes a row, and tells nobody.
func (s *site) grow(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[id]++
}

func (s *site) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
}

// A member is a process.
type member struct {
	*site
	tier   *cachetest.Tier
	cache  *cacheruntime.Cache
	read   *cacheruntime.Read[int64]
	outer  *cacheruntime.Read[int64] // loads by way of read
	many   *cacheruntime.Batch[int64, int64]
	update *cacheruntime.Write

	mu    sync.Mutex
	loads int
	leave func() // called in a load that has seen the row, where set
}

// bound is D, where a test does not say otherwise.
const bound = time.Second

// join starts a process, which ends with the test.
func (s *site) join(options ...cacheruntime.Option) *member {
	s.t.Helper()
	return s.joinWith(nil, options...)
}

func (s *site) joinWith(configure func(*cacheruntime.ReadConfig[int64]), options ...cacheruntime.Option) *member {
	s.t.Helper()
	tier := s.shared.Tier()
	shared := cacheruntime.Shared(tier)
	if s.wrap != nil {
		shared = s.wrap(tier)
	}
	m := s.alone(configure, append([]cacheruntime.Option{
		cacheruntime.WithShared(shared),
		cacheruntime.WithMaxStaleness(bound),
	}, options...)...)
	m.tier = tier
	return m
}

// alone starts a process that shares nothing.
func (s *site) alone(configure func(*cacheruntime.ReadConfig[int64]), options ...cacheruntime.Option) *member {
	s.t.Helper()
	m := &member{site: s}
	var err error
	m.cache, err = cacheruntime.New(append([]cacheruntime.Option{
		cacheruntime.WithLogger(slog.New(slog.DiscardHandler)),
	}, options...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { m.cache.Close() }) // what is left undelivered is the test's affair
	config := func(method string) cacheruntime.ReadConfig[int64] {
		c := cacheruntime.ReadConfig[int64]{
			Repository: "example.com/site.Rows", Method: method, TTL: cacheruntime.Forever,
			Encode: func(e *cacheruntime.Encoder, v int64) { e.Int(v) },
			Decode: func(d *cacheruntime.Decoder) int64 { return d.Int() },
		}
		if configure != nil {
			configure(&c)
		}
		return c
	}
	m.read = cacheruntime.NewRead(m.cache, config("Row"))
	m.outer = cacheruntime.NewRead(m.cache, config("Outer"))
	m.many = cacheruntime.NewBatch[int64](m.read, cacheruntime.BatchConfig{Method: "Rows"})
	m.update = cacheruntime.NewWrite(m.cache, "example.com/site.Rows", "Update")
	return m
}

func rowTag(id int64) cacheruntime.Tag {
	key := cacheruntime.NewKey()
	key.Int(original(id))
	return key.Tag("example.com/site.row")
}

// load is what the repository does.
func (m *member) load(id int64) (int64, error) {
	m.mu.Lock()
	m.loads++
	leave := m.leave
	m.mu.Unlock()
	row, err := m.row(id)
	if leave != nil {
		leave()
	}
	return row, err
}

func (m *member) loadCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.loads
}

func (m *member) setLeave(leave func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leave = leave
}

func readRow(ctx context.Context, read *cacheruntime.Read[int64], id int64, call func(context.Context) (int64, error)) (int64, error) {
	key := read.Key(ctx)
	defer key.Release()
	key.Int(id)
	if row, err, ok := read.Lookup(ctx, key); ok {
		return row, err
	}
	return read.Load(ctx, key, rowLoader(id, call))
}

func rowLoader(id int64, call func(context.Context) (int64, error)) cacheruntime.Loader[int64] {
	return cacheruntime.Loader[int64]{Call: call, Depends: func(tags *cacheruntime.Tags) { tags.Add(rowTag(id)) }}
}

// try reads a row.
func (m *member) try(id int64) (int64, error) {
	return readRow(context.Background(), m.read, id, func(context.Context) (int64, error) { return m.load(id) })
}

// get reads a row, which must succeed.
func (m *member) get(id int64) int64 {
	m.t.Helper()
	row, err := m.try(id)
	if err != nil {
		m.t.Errorf("row %d: %v", id, err)
	}
	return row
}

// getOuter reads a row by way of another cached read.
func (m *member) getOuter(id int64) int64 {
	m.t.Helper()
	row, err := readRow(context.Background(), m.outer, id, func(context.Context) (int64, error) { return m.try(id) })
	if err != nil {
		m.t.Errorf("row %d: %v", id, err)
	}
	return row
}

// getMany reads rows with one call.
func (m *member) getMany(ids ...int64) map[int64]int64 {
	m.t.Helper()
	found, err := m.many.Load(context.Background(), ids, cacheruntime.BatchLoader[int64, int64]{
		Key:    func(key *cacheruntime.Key, id int64) { key.Int(id) },
		Policy: func(id int64) cacheruntime.Loader[int64] { return rowLoader(id, nil) },
		Call: func(_ context.Context, ids []int64, add func(int64, int64)) error {
			for _, id := range ids {
				row, err := m.load(id)
				if err != nil {
					return err
				}
				add(id, row)
			}
			return nil
		},
	})
	if err != nil {
		m.t.Error(err)
	}
	rows := map[int64]int64{}
	for _, f := range found {
		rows[f.ID] = f.Value
	}
	return rows
}

// expect fails the test unless a read returns the row as it is now.
func (m *member) expect(id int64) {
	m.t.Helper()
	want, _ := m.row(id)
	if got := m.get(id); got != want {
		m.t.Errorf("row %d: got %d, want %d", id, got, want)
	}
}

// expectHits fails the test unless a row is cached within the time that a process
// needs to find its way back.
func (m *member) expectHits(id int64) {
	m.t.Helper()
	for range 500 {
		loads := m.loadCount()
		m.expect(id)
		if m.loadCount() == loads {
			return
		}
		pass(10 * time.Millisecond)
	}
	m.t.Errorf("row %d is never cached: %+v", id, m.cache.Stats().Shared)
}

// expectHit fails the test unless a row is served from the memory of the process now.
func (m *member) expectHit(id int64) {
	m.t.Helper()
	hits := m.cache.Stats().Hits
	m.expect(id)
	if m.cache.Stats().Hits == hits {
		m.t.Errorf("row %d is not served from memory: %+v", id, m.cache.Stats().Shared)
	}
}

// expectNoHit fails the test if reads of a row are answered from a cache.
func (m *member) expectNoHit(id int64) {
	m.t.Helper()
	for range 2 { // the first may fill
		loads := m.loadCount()
		m.expect(id)
		if m.loadCount() == loads {
			m.t.Errorf("row %d is served from a cache", id)
		}
	}
}

// expectDelivered fails the test unless the process is up to date, and so are the others
// as far as it is up to this one.
func (m *member) expectDelivered() {
	m.t.Helper()
	if stats := m.cache.Stats().Shared; !stats.Current || stats.Queued != 0 {
		m.t.Errorf("%+v", stats)
	}
}

// expectNoMarks fails the test if the log has a mark.
func (s *site) expectNoMarks() {
	s.t.Helper()
	if marks := s.shared.Marks(); len(marks) > 0 {
		s.t.Errorf("marks are left: %v", marks)
	}
}

// begin begins a write of a row, which it changes when it ends with that error.
func (m *member) begin(id int64) (end func(error), err error) {
	_, call, err := m.update.Begin(context.Background(), func(tags *cacheruntime.Tags) { tags.Add(rowTag(id)) })
	if err != nil {
		return nil, err
	}
	return func(err error) {
		call.Returned(err)
		call.End()
	}, nil
}

// write changes a row.
func (m *member) write(id int64) {
	m.t.Helper()
	end, err := m.begin(id)
	if err != nil {
		m.t.Fatal(err)
	}
	m.grow(id)
	end(nil)
}

// commit commits a transaction that has written a row. What there is to be done while it
// commits is done by meanwhile.
func (m *member) commit(id int64, meanwhile func()) {
	m.t.Helper()
	ctx, tx := m.cache.Begin(m.t.Context())
	_, call, err := m.update.Begin(ctx, func(tags *cacheruntime.Tags) { tags.Add(rowTag(id)) })
	if err != nil {
		m.t.Fatal(err)
	}
	call.Returned(nil)
	call.End()
	err = tx.Commit(func() error {
		meanwhile()
		return nil
	})
	if err != nil {
		m.t.Error(err)
	}
}

// inDoubt is the error of a write that may land later.
var inDoubt = errors.Join(context.DeadlineExceeded)

// step is how often a row is looked at to see how long it stays stale, and steps how many
// times.
const (
	step  = 20 * time.Millisecond
	steps = 250
)

// copyRow has row 1 cached as often as it will be looked at: what is stale is gone when it
// has been read by a process that knows so, or does not know.
func (m *member) copyRow() {
	m.t.Helper()
	for i := range int64(steps) {
		m.expectHits(copies + i)
	}
}

// lastStale returns when the last read of row 1 began that was answered with less than it
// is now, counted from the beginning.
func (m *member) lastStale() (last time.Duration) {
	m.t.Helper()
	want, _ := m.row(1)
	start := time.Now()
	for i := range int64(steps) {
		pass(time.Until(start.Add(time.Duration(i) * step)))
		began := time.Since(start)
		if m.get(copies+i) < want {
			last = began
		}
	}
	return last
}

// expectBound fails the test if row 1, that another process has just written, is served as
// it was before for longer than D.
func (m *member) expectBound() {
	m.t.Helper()
	if last := m.lastStale(); last > bound {
		m.t.Errorf("a read that began %v after a write had returned was stale", last)
	}
}

// calls waits until a method of the tier has been called once more.
func (m *member) calls(method string) {
	m.t.Helper()
	for before, n := m.tier.Calls(method), 0; m.tier.Calls(method) == before; n++ {
		if n == 10_000 {
			m.t.Fatalf("%s is not called", method)
		}
		pass(time.Millisecond)
	}
}

// append appends a record to the log that is of no member.
func (s *site) append(record cacheruntime.LogRecord) {
	s.t.Helper()
	record.ID = cacheruntime.LogID{0xff, byte(s.shared.Head().Number)}
	if _, err := s.shared.Tier().Append(s.t.Context(), cacheruntime.LogPosition{}, record); err != nil {
		s.t.Fatal(err)
	}
}

// pass lets time go by.
func pass(d time.Duration) { <-time.After(d) }

// only returns fates for calls of some methods, and none for the others.
func only(fate cachetest.Fate, methods ...string) func(string) cachetest.Fate {
	return func(call string) cachetest.Fate {
		for _, m := range methods {
			if m == call {
				return fate
			}
		}
		return cachetest.Fate{}
	}
}

// once returns a fate for the next call of a method, and none for those after it.
func once(fate cachetest.Fate, method string) func(string) cachetest.Fate {
	done := false
	return func(call string) cachetest.Fate {
		if done || call != method {
			return cachetest.Fate{}
		}
		done = true
		return fate
	}
}

var (
	lost   = cachetest.Fate{Lost: true}
	broken = cachetest.Fate{Broken: true}
)

func late(d time.Duration) cachetest.Fate { return cachetest.Fate{Delay: d} }

// loseEpoch loses the log, has b begin a new one and cache row 1 there, and returns when
// a is reading the new one, of which the reply is delayed.
func loseEpoch(a, b *member) {
	a.tier.SetFaults(cachetest.Faults{Request: only(late(bound/2), "Prove"), Reply: only(late(bound/2), "Snapshot")})
	a.shared.Flush()
	b.write(9)
	b.expectHits(1)
	a.calls("Snapshot")
}
