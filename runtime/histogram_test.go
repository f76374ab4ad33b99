package cacheruntime

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramBounds(t *testing.T) {
	bounds := HistogramBounds()
	if len(bounds) != len(Histogram{}.Buckets)-1 || bounds[0] != time.Microsecond || bounds[len(bounds)-1] != 67108864*time.Microsecond {
		t.Fatalf("%v", bounds)
	}
	for i, bound := range bounds {
		if i > 0 && bound != 2*bounds[i-1] {
			t.Errorf("bound %d is %v", i, bound)
		}
		for d, want := range map[time.Duration]int{bound - 1: i, bound: i, bound + 1: i + 1} {
			if got := histogramBucket(d); got != want {
				t.Errorf("%v is in bucket %d, want %d", d, got, want)
			}
		}
	}
	for d, want := range map[time.Duration]int{0: 0, -time.Hour: 0, math.MaxInt64: len(bounds)} {
		if got := histogramBucket(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
	bounds[0] = 0
	if HistogramBounds()[0] == 0 {
		t.Error("the bounds are not the caller's own")
	}
}

func TestHistogramQuantile(t *testing.T) {
	for _, tc := range []struct {
		h    Histogram
		q    float64
		want time.Duration
	}{
		{Histogram{}, 0.5, 0},
		{times(3 * time.Microsecond), 0, 2 * time.Microsecond},
		{times(3 * time.Microsecond), 0.5, 3 * time.Microsecond},
		{times(3 * time.Microsecond), 1, 4 * time.Microsecond},
		{times(3 * time.Microsecond), -1, 2 * time.Microsecond},
		{times(3 * time.Microsecond), 2, 4 * time.Microsecond},
		{times(3 * time.Microsecond), math.NaN(), 2 * time.Microsecond},
		{times(0), 0.5, 500 * time.Nanosecond},
		{times(3*time.Microsecond, time.Hour), 0.5, 4 * time.Microsecond},
		{times(3*time.Microsecond, time.Hour), 0.51, 67108864 * time.Microsecond},
		{times(1, 3*time.Microsecond, 3*time.Microsecond, 3*time.Microsecond), 0.5, 2*time.Microsecond + 2*time.Microsecond/3},
	} {
		if got := tc.h.Quantile(tc.q); got != tc.want {
			t.Errorf("quantile %v of %v: %v, want %v", tc.q, tc.h, got, tc.want)
		}
	}
}

// TestHistogramQuantileError holds the estimate to what is documented of it.
func TestHistogramQuantileError(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		all := make([]time.Duration, 1+random.IntN(50))
		for i := range all {
			all[i] = time.Duration(math.Exp(random.Float64() * math.Log(float64(longestBound))))
		}
		h := times(all...)
		slices.Sort(all)
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 1, random.Float64()} {
			meant := all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
			got := h.Quantile(q)
			if got > meant+time.Microsecond && got >= 2*meant || got < meant-time.Microsecond && got < meant/2 {
				t.Errorf("quantile %v of %v: %v, want about %v", q, all, got, meant)
			}
		}
	}
}

func TestHistogramString(t *testing.T) {
	h := times(time.Millisecond, 2*time.Millisecond, 123456789*time.Nanosecond)
	if got, want := h.String(), "count 3, mean 42.2ms, p50 1.54ms, p90 111ms, p99 129ms"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := (Histogram{}).String(), "count 0, mean 0s, p50 0s, p90 0s, p99 0s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	var sum Histogram
	sum.add(h)
	sum.add(times(time.Millisecond))
	if want := times(time.Millisecond, time.Millisecond, 2*time.Millisecond, 123456789*time.Nanosecond); sum != want {
		t.Errorf("%v, want %v", sum, want)
	}
}
