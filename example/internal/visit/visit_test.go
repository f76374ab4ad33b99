package visit

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cachegen/cachegen/example/blog/sqlite"
	"github.com/cachegen/cachegen/example/internal/sample"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := Run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"miss: absent", "hit", "invalidates Post(12)", "PostRepository.ByID",
		"2 × hit, 1 × miss: absent", "reloads     Featured", "bypassed: transaction",
		"stale: load failed", "stale: outlasted soft", "fails: the database is down",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not mention %q:\n%s", want, out.String())
		}
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasSuffix(line, " \n") {
			t.Errorf("trailing space: %q", line)
		}
	}
}

// A visit must not pass if the cache is wrong: here it is one that has not been
// told of a write.
func TestRunFindsDifference(t *testing.T) {
	ctx := t.Context()
	db, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "blog.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cache, err := cacheruntime.New()
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()

	v := begin(db, cache, &clock{line: &line{}}, io.Discard)
	if err := sample.Fill(ctx, v.direct.posts, v.direct.authors, v.direct.comments); err != nil {
		t.Fatal(err)
	}
	v.read(ctx, miss, postByID(1))
	if v.err != nil {
		t.Fatal(v.err)
	}
	if err := v.direct.posts.Edit(ctx, 1, "Another title", ""); err != nil {
		t.Fatal(err)
	}
	v.read(ctx, hit, postByID(1))
	if v.err == nil || !strings.Contains(v.err.Error(), "the database says") {
		t.Fatalf("read of an outdated entry: %v", v.err)
	}
}

var errFull = errors.New("full")

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errFull }

func TestRunReportsWriteError(t *testing.T) {
	if err := Run(t.Context(), fullWriter{}); !errors.Is(err, errFull) {
		t.Fatalf("Run: %v, want %v", err, errFull)
	}
}
