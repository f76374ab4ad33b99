package redistest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	Main(m, map[string]func(*ChildIO){
		"echo":     echo,
		"panic":    func(*ChildIO) { panic("what the child died of") },
		"chatty":   chatty,
		"talk":     talk,
		"deserter": deserter,
	})
}

// A rehearsal stands for a test that may fail.
type rehearsal struct {
	testing.TB
	dir string

	mu       sync.Mutex
	failed   bool
	skipped  bool
	said     strings.Builder
	cleanups []func()
}

// rehearse runs a test with its clean-ups.
func rehearse(t testing.TB, test func(testing.TB)) *rehearsal {
	t.Helper()
	r := &rehearsal{TB: t, dir: t.TempDir()}
	r.run(func() { test(r) })
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		cleanup := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		r.run(cleanup)
	}
	return r
}

// run gives a function a goroutine to end by FailNow.
func (r *rehearsal) run(f func()) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		f()
	}()
	<-over
}

func (r *rehearsal) say(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(&r.said, text)
}

func (r *rehearsal) Helper()                   {}
func (r *rehearsal) TempDir() string           { return r.dir }
func (r *rehearsal) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *rehearsal) Failed() bool              { return r.failed }
func (r *rehearsal) Log(args ...any)           { r.say(fmt.Sprint(args...)) }
func (r *rehearsal) Logf(f string, a ...any)   { r.say(fmt.Sprintf(f, a...)) }
func (r *rehearsal) Errorf(f string, a ...any) { r.failed = true; r.Logf(f, a...) }
func (r *rehearsal) Fatal(args ...any)         { r.failed = true; r.Log(args...); runtime.Goexit() }
func (r *rehearsal) Fatalf(f string, a ...any) { r.Fatal(fmt.Sprintf(f, a...)) }
func (r *rehearsal) Skip(args ...any)          { r.skipped = true; r.Log(args...); runtime.Goexit() }

// An orphan stands for a test whose clean-up will never run.
type orphan struct {
	testing.TB
	dir string
}

func (o orphan) Helper()         {}
func (o orphan) TempDir() string { return o.dir }
func (o orphan) Cleanup(func())  {}
func (o orphan) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}
