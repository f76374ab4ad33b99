package cacheruntime

import (
	"errors"
	"testing"
)

func TestEventTellsWhyAndWhat(t *testing.T) {
	for want, event := range map[string]Event{
		`invalidated  Posts.Rename  ambiguous write, blog.post(7)  0s`: {
			Repository: "example.com/blog.Posts", Method: "Rename",
			Outcome: Invalidated, Cause: CauseAmbiguous, Tags: []string{"blog.post(7)"},
		},
		`invalidated  Posts.Rename  blog.post(7)  0s`: {
			Repository: "example.com/blog.Posts", Method: "Rename",
			Outcome: Invalidated, Cause: CauseWrite, Tags: []string{"blog.post(7)"},
		},
		`loaded  Posts.Post  "no connection"  0s`: {
			Repository: "example.com/blog.Posts", Method: "Post",
			Outcome: Loaded, Err: errors.New("no connection"),
		},
		`invalidated  by hand  blog.post(7)  0s`: {
			Outcome: Invalidated, Cause: CauseByHand, Tags: []string{"blog.post(7)"},
		},
	} {
		if got := event.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
