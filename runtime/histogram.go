package cacheruntime

import (
	"fmt"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// A Histogram is how often durations fell into buckets of fixed, exponential
// bounds: see [HistogramBounds]. It is plain data that can be compared and copied.
type Histogram struct {
	Sum     time.Duration // of all of them
	Buckets [histogramBuckets]uint64
}

const (
	histogramBuckets = 28

	// shortestBound, doubled 0 to 26 times, bounds the buckets but for the last.
	shortestBound = time.Microsecond
	longestBound  = shortestBound << (histogramBuckets - 2)
)

// HistogramBounds returns the upper bounds of the buckets of every [Histogram], in
// order: the powers of two from 1 µs to 2^26 µs, about 67 s. Buckets[i] holds what is
// longer than bound i-1 and not longer than bound i; the last bucket, which has no
// bound, what is longer than all of them.
func HistogramBounds() []time.Duration {
	bounds := make([]time.Duration, histogramBuckets-1)
	for i := range bounds {
		bounds[i] = shortestBound << i
	}
	return bounds
}

// histogramBucket is the index of the bucket of a duration.
func histogramBucket(d time.Duration) int {
	switch {
	case d <= shortestBound:
		return 0
	case d > longestBound:
		return histogramBuckets - 1
	}
	return bits.Len64(uint64((d - 1) / shortestBound))
}

// Count returns the number of durations.
func (h Histogram) Count() uint64 {
	var count uint64
	for _, n := range h.Buckets {
		count += n
	}
	return count
}

// Mean returns the arithmetic mean, which is exact, and 0 if there is none.
func (h Histogram) Mean() time.Duration {
	count := h.Count()
	if count == 0 {
		return 0
	}
	return h.Sum / time.Duration(count)
}

// Quantile estimates the duration that a part q of all durations, 0 to 1, does not
// exceed: Quantile(0.5) is the median. It is 0 if there are no durations; a q that is
// out of range counts as the nearest that is not, and NaN as 0.
//
// As histogram_quantile of Prometheus does, it finds the bucket of the
// duration that is meant and assumes that those in the bucket are spread evenly. The
// duration is in the same bucket, so the estimate is less than a factor of two off,
// or less than 1 µs. In the last bucket the estimate is its lower bound, about 67 s,
// and the duration may be any above.
func (h Histogram) Quantile(q float64) time.Duration {
	count := h.Count()
	if count == 0 {
		return 0
	}
	if math.IsNaN(q) {
		q = 0
	}
	rank := min(max(q, 0), 1) * float64(count)
	var below uint64
	for i, n := range h.Buckets[:histogramBuckets-1] {
		if n > 0 && rank <= float64(below+n) {
			var lower time.Duration
			if i > 0 {
				lower = shortestBound << (i - 1)
			}
			width := shortestBound<<i - lower
			return lower + time.Duration(float64(width)*(rank-float64(below))/float64(n))
		}
		below += n
	}
	return longestBound
}

// String renders what people ask for first: number, mean and three quantiles.
func (h Histogram) String() string {
	return fmt.Sprintf("count %d, mean %v, p50 %v, p90 %v, p99 %v", h.Count(),
		roundTime(h.Mean()), roundTime(h.Quantile(0.5)), roundTime(h.Quantile(0.9)), roundTime(h.Quantile(0.99)))
}

func (h *Histogram) add(d Histogram) {
	h.Sum += d.Sum
	for i, n := range d.Buckets {
		h.Buckets[i] += n
	}
}

// roundTime leaves three digits: more would promise too much of an estimate.
func roundTime(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// histogramCounters counts the buckets of a [Histogram]. They are not spread over
// stripes: beside a load, that cores share a cache line does not matter.
type histogramCounters [histogramBuckets]atomic.Uint64

func (c *histogramCounters) observe(d time.Duration) { c[histogramBucket(d)].Add(1) }

func (c *histogramCounters) histogram(sum time.Duration) Histogram {
	h := Histogram{Sum: sum}
	for i := range c {
		h.Buckets[i] = c[i].Load()
	}
	return h
}
