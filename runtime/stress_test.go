package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// Readers and writers at random, on few rows, so that loads, writes, joiners and
// stores overlap in every way: no read returns a version older than what was
// committed, by a write that had returned, when it began.
func TestNoStaleReads(t *testing.T) {
	for _, share := range []bool{false, true} {
		t.Run(fmt.Sprintf("share=%v", share), func(t *testing.T) {
			r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Share = share }, WithMaxBytes(minMaxBytes))
			// Odd rows depend on a tag of their arguments, even ones on one of
			// their result.
			r.depends = func(id int64) []Tag {
				if id%2 == 1 {
					return []Tag{postTag(id)}
				}
				return nil
			}
			r.dependsResult = func(p *post) []Tag {
				if p.ID%2 == 0 {
					return []Tag{authorTag(p.Author)}
				}
				return nil
			}
			const rows, steps = 4, 1500
			var committed [rows]atomic.Int64
			for id := range int64(rows) {
				r.set(post{ID: id, Author: id, Title: "0"})
			}
			var wg sync.WaitGroup
			for id := range int64(rows) {
				wg.Go(func() {
					for version := int64(1); version <= steps/4; version++ {
						tag := postTag(id)
						if id%2 == 0 {
							tag = authorTag(id)
						}
						r.put(t.Context(), post{ID: id, Author: id, Title: strconv.FormatInt(version, 10)}, tag)
						committed[id].Store(version)
						if version%16 == 0 {
							r.cache.Clear(t.Context())
						}
					}
				})
			}
			for range 6 {
				wg.Go(func() {
					for range steps {
						id := rand.Int64N(rows)
						ctx := t.Context()
						switch rand.IntN(20) {
						case 0:
							ctx = Refresh(ctx)
						case 1:
							ctx = Bypass(ctx)
						case 2:
							var cancel context.CancelFunc
							ctx, cancel = context.WithCancel(ctx)
							go cancel()
						}
						least := committed[id].Load()
						p, err := r.get(ctx, id)
						if err != nil {
							if !errors.Is(err, context.Canceled) {
								t.Error(err)
							}
							continue
						}
						if got, _ := strconv.ParseInt(p.Title, 10, 64); got < least {
							t.Errorf("row %d: version %d was read after version %d was committed", id, got, least)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
