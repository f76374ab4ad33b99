package redis

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// processorTime returns how much time a server has had on a processor, which does not depend
// on how busy the machine is.
func processorTime(t testing.TB, s *redistest.Server) time.Duration {
	t.Helper()
	var seconds float64
	for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
		n, err := strconv.ParseFloat(s.Info(field), 64)
		if err != nil {
			t.Fatal(err)
		}
		seconds += n
	}
	return time.Duration(seconds * float64(time.Second))
}

// measure makes a benchmark report how much time a call takes on a processor in the server.
func measure(b *testing.B, s *redistest.Server) {
	b.Helper()
	before := processorTime(b, s)
	b.Cleanup(func() {
		b.ReportMetric(float64((processorTime(b, s)-before).Nanoseconds())/1e3/float64(b.N), "server-µs/op")
	})
}

func BenchmarkProve(b *testing.B) {
	s := redistest.Start(b)
	tier := open(b, s)
	at := mustSnapshot(b, tier, 0).At
	measure(b, s)
	for b.Loop() {
		mustProve(b, tier, at)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, slots := range []int{2, 20, 1000, maxSlots} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) {
			s := redistest.Start(b)
			tier := open(b, s)
			at := mustSnapshot(b, tier, 0).At
			r := record()
			for i := range slots {
				r.Slots = append(r.Slots, uint32(i)*(cacheruntime.SharedTableSize/maxSlots))
			}
			measure(b, s)
			for b.Loop() {
				r.ID = newID()
				at = mustAppend(b, tier, at, r).Head
			}
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	s := redistest.Start(b)
	tier := open(b, s)
	at := mustSnapshot(b, tier, 0).At
	mustAppend(b, tier, at, record(cacheruntime.SharedTableSize-1))
	measure(b, s)
	for b.Loop() {
		mustSnapshot(b, tier, 0)
	}
}

func BenchmarkGet(b *testing.B) {
	s := redistest.Start(b)
	tier := open(b, s)
	mustSet(b, tier, cacheruntime.SharedEntry{Key: "k", Entry: make([]byte, 1000), TTL: time.Hour})
	keys := []string{"k"}
	b.Run("alone", func(b *testing.B) {
		measure(b, s)
		b.ReportAllocs()
		for b.Loop() {
			mustGet(b, tier, keys...)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				mustGet(b, tier, keys...)
			}
		})
	})
}
