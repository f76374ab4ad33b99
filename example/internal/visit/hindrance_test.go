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

func TestHindrance(t *testing.T) {
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
		"nothing":     {stats(func(*cacheruntime.Stats) {}), bound, ""},
		"not current": {stats(func(s *cacheruntime.Stats) { s.Shared.Current = false }), 0, "cut off from the log"},
		"failure":     {stats(func(s *cacheruntime.Stats) { s.Shared.Failures = 1 }), 0, "cut off from the log"},
		"new epoch":   {stats(func(s *cacheruntime.Stats) { s.Shared.Epochs = 2 }), 0, "told that the log began anew"},
		"entries":     {stats(func(s *cacheruntime.Stats) { s.SharedErrors = 1 }), 0, "not answered by Redis in time"},
		"busy":        {stats(func(*cacheruntime.Stats) {}), bound + 1, "too busy to ask the log in time"},
	} {
		if got := hindrance(test.stats, test.unasked); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// That less comes from the caches than should is a fault, unless what they shared was
// lost.
func TestShort(t *testing.T) {
	server := redistest.Start(t)
	ctx := t.Context()
	f, err := launch(ctx, Processes{Redis: server.Addr(), Command: program(t)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}()
	var out strings.Builder
	v := &voyage{fleet: f, report: &report{w: &out}}
	r := v.ships[0]
	if err := v.tour(ctx, r, miss); err != nil {
		t.Fatal(err)
	}
	if err := v.tour(ctx, r, miss); err == nil || !strings.Contains(err.Error(), "want most") {
		t.Fatalf("a tour of which nothing is a miss: %v, want an error", err)
	}
	server.Flush()
	redistest.Until(t, "the process has noticed", func() bool {
		f, err := call[Figures](ctx, r, "Stats", 0)
		return err != nil || f.Shared.Epochs > 1 && f.Shared.Current
	})
	if err := v.tour(ctx, r, hit); err != nil {
		t.Errorf("a tour after the loss of everything: %v", err)
	}
	if want := "want most; but process 1 was "; !strings.Contains(out.String(), want) {
		t.Errorf("the report does not mention %q:\n%s", want, out.String())
	}
}

// The bound counts from when other processes can know of a write, and that is when it
// has reached the log.
func TestWriteIsDelivered(t *testing.T) {
	proxy := redistest.StartProxy(t, redistest.Start(t).Addr())
	p := open(t, proxy.Addr())
	proxy.Block(redistest.ToServer)
	var a Answer
	done := make(chan error, 1)
	go func() { done <- p.Write("posts.Edit(1)", &a) }()
	redistest.Until(t, "the invalidation is queued", func() bool { return p.cache.Stats().Shared.Queued > 0 })
	healed := time.Now()
	proxy.Heal()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !a.Returned.After(healed) || p.cache.Stats().Shared.Queued != 0 {
		t.Errorf("said to be known %v after Redis could be told, with %d writes queued", a.Returned.Sub(healed), p.cache.Stats().Shared.Queued)
	}
	var figures Figures
	if err := p.Stats(0, &figures); err != nil || figures.Hindrance != "cut off from the log" {
		t.Errorf("%q, %v", figures.Hindrance, err)
	}
}

// Of calls that fail, the first error is shown.
func TestFailedCalls(t *testing.T) {
	p := open(t, redistest.Start(t).Addr())
	if err := p.db.Close(); err != nil {
		t.Fatal(err)
	}
	p.wander(t.Context())
	var figures Figures
	if err := p.Stats(0, &figures); err != nil {
		t.Fatal(err)
	}
	if figures.Failed != 1 || !strings.Contains(figures.Failure, "closed") {
		t.Errorf("%d failed: %q", figures.Failed, figures.Failure)
	}
}

func TestFigures(t *testing.T) {
	current := cacheruntime.SharedStats{Current: true}
	for _, test := range []struct {
		figures Figures
		want    string
	}{
		{Figures{Shared: current}, "0 of its own\n"},
		{Figures{}, "0 of its own  cut off\n"},
		{Figures{Shared: current, Failed: 1}, "0 of its own  1 call failed\n"},
		{Figures{Failed: 2}, "0 of its own  cut off  2 calls failed\n"},
	} {
		var out strings.Builder
		(&report{w: &out}).figures("process 1", test.figures)
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
			return RunProcesses(ctx, w, Processes{Redis: server.Addr(), Command: program(t)})
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
	if err := RunProcesses(ctx, new(signal), Processes{Redis: server.Addr(), Command: program(t)}); err == nil || err.Error() != "interrupted" {
		t.Errorf("before it began: %v", err)
	}
}

// open opens a blog of its own in this process.
func open(t *testing.T, server string) *process {
	t.Helper()
	p := &process{}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.Open(Setup{filepath.Join(t.TempDir(), "blog.db"), server, true}, new(time.Duration)); err != nil {
		t.Fatal(err)
	}
	if err := sample.Fill(t.Context(), p.direct.posts, p.direct.authors, p.direct.comments); err != nil {
		t.Fatal(err)
	}
	return p
}
