package cacheruntime

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
)

func TestBigcacheStore(t *testing.T) {
	s, err := newBigcacheStore(minMaxBytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Get("a"); ok || err != nil {
		t.Fatalf("an empty store has an entry: %v", err)
	}
	if err := s.Set("a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	entry, ok, err := s.Get("a")
	if !ok || err != nil || string(entry) != "1" {
		t.Fatalf("%q %v %v", entry, ok, err)
	}
	entry[0] = 'X'
	if entry, _, _ := s.Get("a"); string(entry) != "1" {
		t.Error("the entry is not the caller's own copy")
	}
	if got := s.StoreStats(); got.Entries != 1 || got.Bytes == 0 || got.Bytes > minMaxBytes || got.Evictions != 0 {
		t.Errorf("%+v", got)
	}
	if err := s.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := s.Get("a"); ok || s.StoreStats().Entries != 0 {
		t.Error("an entry outlives Reset")
	}

	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Set("a", []byte("1")); err != nil {
		t.Error(err)
	}
	if _, ok, err := s.Get("a"); ok || err != nil {
		t.Errorf("after Close: %v %v", ok, err)
	}
	if err := s.Reset(); err != nil {
		t.Error(err)
	}
	if got := s.StoreStats(); got != (StoreStats{}) {
		t.Errorf("after Close: %+v", got)
	}
}

func TestBigcacheStoreStaysInBounds(t *testing.T) {
	s, err := newBigcacheStore(minMaxBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Set("small", []byte("small")); err != nil {
		t.Fatal(err)
	}
	if err := s.Set("large", make([]byte, s.maxEntry)); err == nil {
		t.Error("an entry that is too large is kept")
	}
	if _, ok, _ := s.Get("small"); !ok {
		t.Error("an entry that is too large pushes others out")
	}
	for size := s.maxEntry - 10; size > 1000; size = size * 2 / 3 {
		name := fmt.Sprint(size)
		if err := s.Set(name, make([]byte, size)); err != nil {
			t.Errorf("an entry of %d bytes: %v", size, err)
		}
		if entry, ok, err := s.Get(name); !ok || err != nil || len(entry) != size {
			t.Errorf("an entry of %d bytes: %d, %v, %v", size, len(entry), ok, err)
		}
	}
	for i := range 10000 {
		if err := s.Set(fmt.Sprint("entry", i), make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	stats := s.StoreStats()
	if stats.Bytes > minMaxBytes || stats.Evictions < 8000 || stats.Entries+stats.Evictions < 10000 {
		t.Errorf("%+v", stats)
	}
}

func TestBigcacheStoreConcurrently(t *testing.T) {
	s, err := newBigcacheStore(minMaxBytes)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				name := fmt.Sprint(i % 50)
				want := bytes.Repeat([]byte(name), 100+i%50)
				if i%4 == g {
					s.Set(name, want)
				}
				if entry, ok, _ := s.Get(name); ok && !bytes.Equal(entry, want) {
					t.Errorf("entry %s is damaged", name)
				}
			}
			s.Close()
		})
	}
	wg.Wait()
}

func TestOptions(t *testing.T) {
	for name, opts := range map[string][]Option{
		"no memory":     {WithMaxBytes(0)},
		"negative":      {WithMaxBytes(-1)},
		"little memory": {WithMaxBytes(minMaxBytes - 1)},
		"much memory":   {WithMaxBytes(1 << 60)},
		"no store":      {WithStore(nil)},
		"both":          {WithStore(newMemoryStore()), WithMaxBytes(minMaxBytes)},
		"no time":       {WithLoadTimeout(0)},
	} {
		if cache, err := New(opts...); err == nil {
			t.Errorf("%s: no error", name)
			cache.Close()
		}
	}

	// A store of the caller's own stays his, if there is no cache.
	store := newMemoryStore()
	if _, err := New(WithStore(store), WithShared(claimed{})); !errors.Is(err, errClaimed) || store.closed > 0 {
		t.Errorf("%v, and the store was closed %d times", err, store.closed)
	}

	for _, size := range []int64{minMaxBytes, 3 << 20, 64<<20 + 1, defaultMaxBytes, 2 << 30} {
		cache, err := New(WithMaxBytes(size))
		if err != nil {
			t.Errorf("%d bytes: %v", size, err)
			continue
		}
		if got := cache.Stats().Store.Bytes; got > 1<<20 {
			t.Errorf("%d bytes: %d are taken at once", size, got)
		}
		cache.Close()
	}
}

// A claimed tier is that of another cache.
type claimed struct{ Shared }

func (claimed) Claim() error { return errClaimed }

var errClaimed = errors.New("claimed")
