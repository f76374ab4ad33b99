package redis

import (
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m, nil) }

// open opens a tier on a server. Timeouts are long, so that a busy machine does not
// matter.
func open(t testing.TB, s *redistest.Server, change ...func(*Options)) *Tier {
	t.Helper()
	options := Options{InitAddress: []string{s.Addr()}, Namespace: "test", Timeout: 10 * time.Second, LogTimeout: 10 * time.Second}
	for _, c := range change {
		c(&options)
	}
	tier, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tier.Close(); err != nil {
			t.Error(err)
		}
	})
	return tier
}

// contents returns all keys of a server with what they hold.
func contents(s *redistest.Server) map[string]any {
	dump := s.Do("EVAL", `
		local all = redis.call('KEYS', '*')
		for i = 1, #all do all[#all + 1] = redis.call('DUMP', all[i]) end
		return all`, "0").([]any)
	all, n := make(map[string]any), len(dump)/2
	for i := range n {
		all[dump[i].(string)] = dump[n+i]
	}
	return all
}

// A streamEntry is one of a log that has not been tampered with.
type streamEntry struct{ id, record string }

// stream returns the entries of a log.
func stream(s *redistest.Server, log string) []streamEntry {
	var all []streamEntry
	for _, e := range s.Do("XRANGE", log, "-", "+").([]any) {
		e := e.([]any)
		all = append(all, streamEntry{e[0].(string), e[1].([]any)[1].(string)})
	}
	return all
}
