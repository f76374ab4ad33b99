package cachetest_test

import (
	"testing"

	"github.com/cachegen/cachegen/internal/sharedtest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

func TestSharedKeepsItsPromises(t *testing.T) {
	sharedtest.Test(t, func(t *testing.T) sharedtest.Subject {
		shared := cachetest.NewShared(t)
		open := func(*testing.T) cacheruntime.Shared { return shared.Tier() }
		return sharedtest.Subject{
			Open: open,
			OpenShort: func(t *testing.T) cacheruntime.Shared {
				shared.SetLimits(100, 1000)
				return open(t)
			},
			Losses: []sharedtest.Loss{
				{Name: "everything", Lose: shared.Flush, Marks: true},
				{Name: "log and table", Lose: shared.EvictLog},
				{Name: "marks", Lose: shared.EvictMarks, Marks: true},
				{Name: "log, table and marks", Lose: func() { shared.EvictLog(); shared.EvictMarks() }, Marks: true},
			},
		}
	})
}
