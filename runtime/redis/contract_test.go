package redis

import (
	"testing"

	"github.com/cachegen/cachegen/internal/redistest"
	"github.com/cachegen/cachegen/internal/sharedtest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

func TestTierKeepsItsPromises(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	lose := func(keys ...string) func() {
		return func() { server.Do(append([]string{"DEL"}, keys...)...) }
	}
	const log, table, marks = "{test}:log", "{test}:table", "{test}:marks"
	sharedtest.Test(t, func(t *testing.T) sharedtest.Subject {
		server.Flush()
		return sharedtest.Subject{
			Open: func(t *testing.T) cacheruntime.Shared { return open(t, server) },
			OpenShort: func(t *testing.T) cacheruntime.Shared {
				return open(t, server, func(o *Options) { o.LogLength = 100 })
			},
			Losses: []sharedtest.Loss{
				{Name: "everything", Lose: server.Flush, Marks: true},
				{Name: "log", Lose: lose(log)},
				{Name: "table", Lose: lose(table)},
				{Name: "log and table", Lose: lose(log, table)},
				{Name: "marks", Lose: lose(marks), Marks: true},
				{Name: "log, table and marks", Lose: lose(log, table, marks), Marks: true},
			},
		}
	})
}
