package sharedtest

import (
	"fmt"
	"testing"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// until asks every few milliseconds, in which entries and locks may run out.
func (p process) until(what string, condition func() bool) {
	p.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-p.ctx.Done():
			p.t.Fatalf("waited in vain until %s", what)
		}
	}
}

func (p process) get(keys ...string) [][]byte {
	p.t.Helper()
	entries, err := p.Get(p.ctx, keys)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(entries) != len(keys) {
		p.t.Fatalf("%d entries for %d keys", len(entries), len(keys))
	}
	return entries
}

func (p process) set(entries ...cacheruntime.SharedEntry) {
	p.t.Helper()
	if err := p.Set(p.ctx, entries); err != nil {
		p.t.Fatal(err)
	}
}

func testEntries(t *testing.T, s Subject) {
	here, there := newProcess(t, s.Open), newProcess(t, s.Open)
	if got := here.get("none"); got[0] != nil {
		t.Errorf("%q is there", got[0])
	}
	here.get()
	here.set()
	here.set(cacheruntime.SharedEntry{Key: "a", Entry: []byte("1"), TTL: time.Hour},
		cacheruntime.SharedEntry{Key: "b", Entry: []byte("\x00\xff\r\n"), TTL: cacheruntime.Forever})
	expect(t, "entries", [][]byte{[]byte("\x00\xff\r\n"), nil, []byte("1"), []byte("1")}, there.get("b", "none", "a", "a"))
	there.set(cacheruntime.SharedEntry{Key: "a", Entry: []byte("2"), TTL: time.Hour})
	expect(t, "an entry that was replaced", [][]byte{[]byte("2")}, here.get("a"))

	// More than are sent at once.
	const many = 300
	keys, entries, want := make([]string, many), make([]cacheruntime.SharedEntry, 0, many), make([][]byte, many)
	for i := range many {
		keys[i] = fmt.Sprint("many ", i)
		if i%7 != 0 {
			want[i] = fmt.Append(nil, i)
			entries = append(entries, cacheruntime.SharedEntry{Key: keys[i], Entry: want[i], TTL: time.Hour})
		}
	}
	here.set(entries...)
	expect(t, "many entries", want, there.get(keys...))

	for _, ttl := range []time.Duration{-1, 0, time.Nanosecond, 30 * time.Millisecond} {
		key := ttl.String()
		here.set(cacheruntime.SharedEntry{Key: key, Entry: []byte("v"), TTL: ttl})
		there.until("an entry has run out", func() bool { return there.get(key)[0] == nil })
	}
}

func testLocks(t *testing.T, s Subject) {
	here, there := newProcess(t, s.Open), newProcess(t, s.Open)
	lock := func(p process, token string, ttl time.Duration) bool {
		taken, err := p.Lock(p.ctx, "k", token, ttl)
		if err != nil {
			t.Error(err)
		}
		return taken
	}
	expectLock := func(p process, token string, want bool) {
		t.Helper()
		if got := lock(p, token, time.Hour); got != want {
			t.Errorf("taken by %s: %v", token, got)
		}
	}
	unlock := func(p process, token string) {
		t.Helper()
		if err := p.Unlock(p.ctx, "k", token); err != nil {
			t.Fatal(err)
		}
	}
	unlock(here, "a") // which nobody has
	here.set(cacheruntime.SharedEntry{Key: "k", Entry: []byte("v"), TTL: time.Hour})
	expectLock(here, "a", true)
	expectLock(there, "b", false)
	expectLock(here, "a", false)
	if taken, err := there.Lock(there.ctx, "another", "b", time.Hour); err != nil || !taken {
		t.Errorf("the lock of another key: %v, %v", taken, err)
	}
	unlock(there, "b")
	expectLock(there, "b", false)
	unlock(there, "a") // it is the token that counts
	expectLock(there, "b", true)
	unlock(there, "b")
	expect(t, "the entry of the key", [][]byte{[]byte("v")}, here.get("k"))

	if !lock(here, "a", 30*time.Millisecond) {
		t.Fatal("not taken")
	}
	there.until("a lock has run out", func() bool { return lock(there, "b", time.Hour) })
	unlock(here, "a") // too late
	expectLock(here, "a", false)

	unlock(there, "b")
	taken := make(chan bool)
	for i := range 8 {
		go func() { taken <- lock([]process{here, there}[i%2], fmt.Sprint(i), time.Hour) }()
	}
	n := 0
	for range 8 {
		if <-taken {
			n++
		}
	}
	if n != 1 {
		t.Errorf("a lock was taken %d times at once", n)
	}
}
