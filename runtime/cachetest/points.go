package cachetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Points are named places in the code of a test's fake repository at which the
// test can hold whoever comes by. The code calls [Points.Reach] there; the name
// says what is about to happen or has happened, "load 7" or "renamed 7". A point
// lets everyone pass until the test holds it.
type Points struct {
	t testing.TB

	mu      sync.Mutex
	changed signal
	points  map[string]*point
	ended   bool
}

type point struct {
	gate  *gate // nil: everyone passes
	count int   // of calls of Reach
}

// A gate is a point while it is held, once.
type gate struct {
	open chan struct{}
	held int // who stands before it
}

// NewPoints returns points that all let everyone pass. When the test ends they
// do so for good, so that no load is left behind.
func NewPoints(t testing.TB) *Points {
	p := &Points{t: t, points: map[string]*point{}}
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended = true
		for _, point := range p.points {
			point.release()
		}
	})
	return p
}

// at returns the point of that name. The mutex is locked.
func (p *Points) at(name string) *point {
	if p.points[name] == nil {
		p.points[name] = new(point)
	}
	return p.points[name]
}

func (p *point) release() {
	if p.gate != nil {
		close(p.gate.open)
		p.gate = nil
	}
}

// Reach is called by the code that comes to a point. It returns nil at once
// unless the point is held; then it waits until the point is released or ctx
// ends, and returns the error of ctx if it has ended by then.
func (p *Points) Reach(ctx context.Context, name string) error {
	p.mu.Lock()
	point := p.at(name)
	point.count++
	gate := point.gate
	if gate != nil {
		gate.held++
	}
	p.changed.fire()
	p.mu.Unlock()
	if gate == nil {
		return nil
	}
	select {
	case <-gate.open:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	gate.held--
	return ctx.Err()
}

// Hold makes a point hold whoever reaches it from now on.
func (p *Points) Hold(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if point := p.at(name); point.gate == nil && !p.ended {
		point.gate = &gate{open: make(chan struct{})}
	}
}

// Release lets all go who are held at a point, and everyone pass from now on. To
// let go only who is there now, call Hold right after it.
func (p *Points) Release(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at(name).release()
	p.changed.fire()
}

// Wait waits until somebody is held at a point. If the point is not held, or if
// nobody comes within ten seconds of the system's time (in a bubble of
// testing/synctest: of the bubble's), the test fails and ends; call it from the
// test's goroutine.
func (p *Points) Wait(name string) {
	p.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	p.mu.Lock()
	point := p.at(name)
	ready := p.changed.wait(&p.mu, timeout.C, func() bool { return point.gate == nil || point.gate.held > 0 })
	open := point.gate == nil
	reached := p.reached()
	p.mu.Unlock() // before Fatalf, with which cleanups may begin
	switch {
	case open:
		p.t.Fatalf("cachetest: Wait(%q): the point lets everyone pass: Hold it before", name)
	case !ready:
		p.t.Fatalf("cachetest: Wait(%q): nobody is held there after %v; reached so far: %s", name, patience, reached)
	}
}

// Count returns how often a point was reached so far, held or not.
func (p *Points) Count(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at(name).count
}

// reached says for people how often each point was reached. The mutex is locked.
func (p *Points) reached() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(p.points)) {
		if n := p.points[name].count; n > 0 {
			all = append(all, fmt.Sprintf("%q (%d)", name, n))
		}
	}
	if all == nil {
		return "none"
	}
	return strings.Join(all, ", ")
}
