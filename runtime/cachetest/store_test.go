package cachetest_test

import (
	"errors"
	"strings"
	"testing"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

var (
	_ cacheruntime.Store         = (*cachetest.Store)(nil)
	_ cacheruntime.StoreReporter = (*cachetest.Store)(nil)
)

var errDown = errors.New("the store is down")

func set(t *testing.T, store *cachetest.Store, key, entry string) {
	t.Helper()
	if err := store.Set(key, []byte(entry)); err != nil {
		t.Fatal(err)
	}
}

// get returns an entry, "" for none.
func get(t *testing.T, store *cachetest.Store, key string) string {
	t.Helper()
	entry, ok, err := store.Get(key)
	if err != nil || ok != (len(entry) > 0) {
		t.Fatalf("%q: %q, %v, %v", key, entry, ok, err)
	}
	return string(entry)
}

func TestStore(t *testing.T) {
	store := cachetest.NewStore(t)
	set(t, store, "a", "old")
	set(t, store, "a", "new")
	set(t, store, "b", "other")
	if get(t, store, "a") != "new" || get(t, store, "b") != "other" || get(t, store, "c") != "" {
		t.Error("does not keep what is set")
	}
	if got, want := store.StoreStats(), (cacheruntime.StoreStats{Entries: 2, Bytes: 8}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := store.Close(); err != nil || store.Len() != 2 {
		t.Errorf("closed: %d entries, %v", store.Len(), err)
	}
	if err := store.Reset(); err != nil || store.Len() != 0 {
		t.Errorf("reset: %d entries, %v", store.Len(), err)
	}
}

func TestStoreFails(t *testing.T) {
	store := cachetest.NewStore(t)
	set(t, store, "a", "old")
	store.FailGets(errDown)
	store.FailSets(errDown)
	store.FailResets(errDown)
	if entry, ok, err := store.Get("a"); err != errDown || ok || entry != nil {
		t.Errorf("get: %q, %v, %v", entry, ok, err)
	}
	if err := store.Set("a", []byte("new")); err != errDown {
		t.Errorf("set: %v", err)
	}
	if err := store.Reset(); err != errDown {
		t.Errorf("reset: %v", err)
	}
	store.FailGets(nil)
	if got := get(t, store, "a"); got != "old" {
		t.Errorf("%q after calls that failed", got)
	}
	store.Heal()
	set(t, store, "a", "new")
	if err := store.Reset(); err != nil || get(t, store, "a") != "" {
		t.Errorf("healed: %v", err)
	}
}

func TestStoreForgetsTheOldest(t *testing.T) {
	store := cachetest.NewStore(t)
	for _, key := range []string{"a", "b", "c", "d", "a"} {
		set(t, store, key, "entry")
	}
	store.Forget(2)
	if get(t, store, "b")+get(t, store, "c") != "" || get(t, store, "a") == "" || get(t, store, "d") == "" {
		t.Error("not the oldest are forgotten")
	}
	store.Forget(-1)
	if store.Len() != 2 {
		t.Errorf("%d entries", store.Len())
	}
	store.Forget(5)
	if got := store.StoreStats(); got != (cacheruntime.StoreStats{Evictions: 4}) {
		t.Errorf("%+v", got)
	}
}

// What the cache got before stays as it was.
func TestStoreDamagesCopies(t *testing.T) {
	store := cachetest.NewStore(t)
	set(t, store, "a", "entry")
	before, _, _ := store.Get("a")
	store.Damage()
	if string(before) != "entry" {
		t.Errorf("an entry in use is now %q", before)
	}
	if got := get(t, store, "a"); got == "entry" {
		t.Error("not damaged")
	}
}

func TestStoreHolds(t *testing.T) {
	inAndOutside(t, func(t *testing.T) {
		store := cachetest.NewStore(t)
		releaseSets := store.HoldSets()
		wasSet := make(chan error, 1)
		go func() { wasSet <- store.Set("a", []byte("entry")) }()
		store.WaitSet()
		expectHeld(t, wasSet)
		if got := get(t, store, "a"); got != "" {
			t.Errorf("%q while the set is held", got)
		}

		releaseGets := store.HoldGets()
		got := make(chan error, 1)
		go func() {
			entry, _, err := store.Get("a")
			if string(entry) != "entry" {
				t.Errorf("got %q once released", entry)
			}
			got <- err
		}()
		store.WaitGet()
		releaseSets()
		releaseSets()
		if err := <-wasSet; err != nil {
			t.Error(err)
		}
		expectHeld(t, got)
		releaseGets()
		if err := <-got; err != nil {
			t.Error(err)
		}

		store.HoldGets()
		go func() {
			store.Get("a")
			got <- nil
		}()
		store.WaitGet()
		store.Heal()
		<-got
	})
}

func TestStoreWaitsInVain(t *testing.T) {
	record(t, func(t testing.TB) { cachetest.NewStore(t).WaitGet() }).expect(t, "Wait(\"get\")")
	record(t, func(t testing.TB) { cachetest.NewStore(t).WaitSet() }).expect(t, "Wait(\"set\")")
}

// Through all its failures a read returns the row.
func TestStoreBehindCache(t *testing.T) {
	store := cachetest.NewStore(t)
	log := &strings.Builder{}
	cache := cachetest.New(outputTo{t, log}, cacheruntime.WithStore(store))
	r := newRowReader(cache)
	read := func() *cacheruntime.Trace { return r.expectRow(t, t.Context(), 7, "row") }

	store.FailSets(errDown)
	cachetest.Miss(t, read())
	store.FailSets(nil)
	cachetest.Reason(t, read(), cacheruntime.ReasonAbsent)
	cachetest.Hit(t, read())
	store.FailGets(errDown)
	cachetest.Reason(t, read(), cacheruntime.ReasonStoreError)
	store.FailGets(nil)
	store.Damage()
	cachetest.Reason(t, read(), cacheruntime.ReasonUndecodable)
	cachetest.Hit(t, read())
	store.FailResets(errDown)
	if err := cache.Clear(t.Context()); err != errDown {
		t.Errorf("clear: %v", err)
	}
	if store.Len() != 1 {
		t.Errorf("%d entries", store.Len())
	}
	cachetest.Reason(t, read(), cacheruntime.ReasonCleared)
	if !strings.Contains(log.String(), "the store is down") {
		t.Errorf("log: %q", log)
	}
}
