package visit

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cachegen/cachegen/example/internal/sample"
	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

func TestDisruption(t *testing.T) {
	fine := cacheruntime.SharedStats{Current: true, Epochs: 1}
	stats := func(change func(*cacheruntime.Stats)) cacheruntime.Stats {
		s := cacheruntime.Stats{Shared: fine}
		change(&s)
		return s
	}
	for name, test := range map[string]struct {
		stats   cacheruntime.Stats
		unasked time.Duration
		want    string
	}{
		"nothing":     {stats(func(*cacheruntime.Stats) {}), maxStaleness, ""},
		"not current": {stats(func(s *cacheruntime.Stats) { s.Shared.Current = false }), 0, "cut off from the log"},
		"failure":     {stats(func(s *cacheruntime.Stats) { s.Shared.Failures = 1 }), 0, "cut off from the log"},
		"new epoch":   {stats(func(s *cacheruntime.Stats) { s.Shared.Epochs = 2 }), 0, "told that the log began anew"},
		"entries":     {stats(func(s *cacheruntime.Stats) { s.SharedErrors = 1 }), 0, "not answered by Redis in time"},
		"busy":        {stats(func(*cacheruntime.Stats) {}), maxStaleness + 1, "too busy to ask the log in time"},
	} {
		if got := disruption(test.stats, test.unasked); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// That less comes from the caches than should is a fault, unless what they shared was
// lost.
func TestTooFew(t *testing.T) {
	server := redistest.Start(t)
	ctx := t.Context()
	p, err := startChildren(ctx, ProcessOptions{Redis: server.Addr(), Command: program(t)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}()
	var out strings.Builder
	d := &demo{parent: p, report: &report{w: &out}}
	c := d.children[0]
	if err := d.readMostly(ctx, c, miss); err != nil {
		t.Fatal(err)
	}
	redistest.Until(t, "reads of which nothing is a miss are an error", func() bool {
		err := d.readMostly(ctx, c, miss)
		if err != nil && !strings.Contains(err.Error(), "want most") {
			t.Fatal(err)
		}
		if err != nil {
			return true
		}
		// On a machine that is busy the process is cut off for a moment, and misses.
		stats, err := call[ProcessStats](ctx, c, "Stats", 0)
		if err != nil {
			t.Fatal(err)
		}
		return stats.Disruption != ""
	})
	server.Flush()
	redistest.Until(t, "the process has noticed", func() bool {
		stats, err := call[ProcessStats](ctx, c, "Stats", 0)
		return err != nil || stats.Shared.Epochs > 1 && stats.Shared.Current
	})
	if err := d.readMostly(ctx, c, hit); err != nil {
		t.Errorf("reads after the loss of everything: %v", err)
	}
	if want := "want most; but process 1 was "; !strings.Contains(out.String(), want) {
		t.Errorf("the report does not mention %q:\n%s", want, out.String())
	}
}

// The bound counts from when other processes can know of a write, and that is when it
// has reached the log.
func TestAwaitDelivery(t *testing.T) {
	proxy := redistest.StartProxy(t, redistest.Start(t).Addr())
	s := open(t, proxy.Addr())
	var written Result
	if err := s.Write("posts.Edit(1)", &written); err != nil || written.Delivered.IsZero() {
		t.Errorf("a write, while there is a Redis: delivered at %v, %v", written.Delivered, err)
	}
	proxy.Block(redistest.ToServer)
	written = Result{}
	if err := s.Write("posts.Edit(1)", &written); err != nil || !written.Delivered.IsZero() {
		t.Errorf("a write, while Redis is not reached: delivered at %v, %v", written.Delivered, err)
	}
	healed := time.Now()
	proxy.Heal()
	var delivered time.Time
	if err := s.AwaitDelivery(0, &delivered); err != nil {
		t.Fatal(err)
	}
	if queued := s.cache.Stats().Shared.Queued; !delivered.After(healed) || queued != 0 {
		t.Errorf("said to be delivered %v after Redis could be told, with %d writes queued", delivered.Sub(healed), queued)
	}
	var stats ProcessStats
	if err := s.Stats(0, &stats); err != nil || stats.Disruption != "cut off from the log" {
		t.Errorf("%q, %v", stats.Disruption, err)
	}
}

// A process that is disconnected does not reach Redis, neither on the connections it has
// nor on new ones, until it is reconnected.
func TestDisconnect(t *testing.T) {
	s := open(t, redistest.Start(t).Addr())
	if err := s.ReadAll(time.Time{}, new(Result)); err != nil {
		t.Fatal(err)
	}
	if err := s.Disconnect(0, nil); err != nil {
		t.Fatal(err)
	}
	var written Result
	if err := s.Write("posts.Edit(5)", &written); err != nil || !written.Delivered.IsZero() {
		t.Errorf("a write: delivered at %v, %v", written.Delivered, err)
	}
	redistest.Until(t, "the process serves nothing from its cache", func() bool { return !s.cache.Stats().Shared.Current })
	var read Result
	if err := s.ReadAll(time.Time{}, &read); err != nil || read.count(hit) > 0 || read.Events[0].Reason != cacheruntime.ReasonCutOff {
		t.Errorf("reads: %d hits, %v, %v", read.count(hit), read.Events[0], err)
	}
	if err := s.Reconnect(0, new(time.Duration)); err != nil {
		t.Fatal(err)
	}
	if shared := s.cache.Stats().Shared; !shared.Current || shared.Queued > 0 {
		t.Errorf("reconnected: %+v", shared)
	}
}

// An answer is outdated if another program has changed the database and told nobody.
func TestCountOutdated(t *testing.T) {
	s := open(t, redistest.Start(t).Addr())
	for _, want := range []bool{false, true} {
		var n int
		if err := s.CountOutdated(0, &n); err != nil || n > 0 != want {
			t.Errorf("%d outdated, %v; want any: %v", n, err, want)
		}
		if err := s.direct.authors.Rename(t.Context(), ada, "Ada Byron"); err != nil {
			t.Fatal(err)
		}
	}
}

// Of calls that fail, the first error is shown.
func TestFailedCalls(t *testing.T) {
	p := open(t, redistest.Start(t).Addr())
	if err := p.db.Close(); err != nil {
		t.Fatal(err)
	}
	p.randomCall(t.Context())
	var stats ProcessStats
	if err := p.Stats(0, &stats); err != nil {
		t.Fatal(err)
	}
	if stats.Failed != 1 || !strings.Contains(stats.Failure, "closed") {
		t.Errorf("%d failed: %q", stats.Failed, stats.Failure)
	}
}

func TestProcessStats(t *testing.T) {
	current := cacheruntime.SharedStats{Current: true}
	for _, test := range []struct {
		stats ProcessStats
		want  string
	}{
		{ProcessStats{Shared: current}, "0 of its own\n"},
		{ProcessStats{}, "0 of its own  cut off\n"},
		{ProcessStats{Shared: cacheruntime.SharedStats{Queued: 2}}, "0 of its own  cut off  2 to be delivered\n"},
		{ProcessStats{Shared: current, Failed: 1}, "0 of its own  1 call failed\n"},
		{ProcessStats{Failed: 2}, "0 of its own  cut off  2 calls failed\n"},
	} {
		var out strings.Builder
		(&report{w: &out}).processStats("process 1", test.stats)
		if !strings.HasSuffix(out.String(), test.want) {
			t.Errorf("%q does not end with %q", out.String(), test.want)
		}
	}
}

func TestInterrupted(t *testing.T) {
	server := redistest.Start(t)
	for name, test := range map[string]struct {
		text string // of the report, when it is interrupted
		run  func(context.Context, *signal) error
	}{
		"one process": {"Lists, pages", func(ctx context.Context, w *signal) error { return Run(ctx, w) }},
		"several": {"process 2: 22 reads", func(ctx context.Context, w *signal) error {
			return RunProcesses(ctx, w, ProcessOptions{Redis: server.Addr(), Command: program(t)})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := test.run(ctx, &signal{text: test.text, call: cancel})
			if !errors.Is(err, ErrInterrupted) || err.Error() != "interrupted" {
				t.Errorf("%v, want %v", err, ErrInterrupted)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := RunProcesses(ctx, new(signal), ProcessOptions{Redis: server.Addr(), Command: program(t)}); err == nil || err.Error() != "interrupted" {
		t.Errorf("before it began: %v", err)
	}
}

// open opens a blog of its own in this process.
func open(t *testing.T, redis string) *server {
	t.Helper()
	p := &server{}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.Open(OpenArgs{filepath.Join(t.TempDir(), "blog.db"), redis, true}, new(time.Duration)); err != nil {
		t.Fatal(err)
	}
	if err := sample.Fill(t.Context(), p.direct.posts, p.direct.authors, p.direct.comments); err != nil {
		t.Fatal(err)
	}
	return p
}

// Visitors are let finish what they do when a process ends: a write that is given up is in
// doubt, and what it may have changed is not cached by others for a while.
func TestTrafficEnds(t *testing.T) {
	redis := redistest.Start(t)
	s := open(t, redis.Addr())
	lock, err := s.db.SQL().BeginTx(t.Context(), nil) // writes wait for it
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Rollback()
	if err := s.Traffic(visitorsEach, nil); err != nil {
		t.Fatal(err)
	}
	redistest.Until(t, "some of so many calls are writes", func() bool { return s.cache.Stats().Hits > 10_000 })
	s.stop()
	if err := lock.Rollback(); err != nil {
		t.Error(err)
	}
	s.traffic.Wait()
	if marks := redis.Do("HLEN", "{"+namespace+"}:marks"); marks != int64(0) {
		t.Errorf("%v writes are in doubt", marks)
	}
}
