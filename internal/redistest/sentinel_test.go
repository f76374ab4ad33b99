package redistest

import "testing"

func TestSentinel(t *testing.T) {
	t.Parallel()
	const name = "blog"
	primary := Start(t)
	replica := StartReplica(t, primary)
	sentinel := StartSentinel(t, name, primary, 1)
	if got := sentinel.Primary(name); got != primary.Addr() {
		t.Errorf("the primary is %s, want %s", got, primary.Addr())
	}

	primary.Kill()
	Until(t, "the replica is promoted", func() bool {
		_, err := replica.Try("SET", "key", "value")
		return err == nil && sentinel.Primary(name) == replica.Addr()
	})

	// The other way round, with what has come back.
	primary.Restart()
	primary.Follow(replica.Addr())
	sentinel.FailOver(name)
	if got := sentinel.Primary(name); got != primary.Addr() {
		t.Errorf("the primary is %s, want %s", got, primary.Addr())
	}

	// It knows after a restart what it has been told.
	sentinel.Restart()
	if got := sentinel.Primary(name); got != primary.Addr() {
		t.Errorf("the primary is %s, want %s", got, primary.Addr())
	}
}
