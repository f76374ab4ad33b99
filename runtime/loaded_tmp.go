package cacheruntime

import (
	"context"
	"time"
)

func (m *methodStats) loaded(ctx context.Context, took time.Duration, err error) {
	m.add(0, countLoadTime, uint64(took))
	if err != nil {
		m.add(0, countLoadErrors, 1)
	}
	m.tell(ctx, Event{Outcome: Loaded, Duration: took, Err: err})
}
