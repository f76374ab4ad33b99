package redis

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

const masterSet = "blog"

// watched starts a primary and a replica, and a sentinel that watches them.
func watched(t *testing.T) (primary, replica, sentinel *redistest.Server) {
	t.Helper()
	primary = redistest.Start(t)
	replica = redistest.StartReplica(t, primary)
	return primary, replica, redistest.StartSentinel(t, masterSet, primary, 1)
}

func bySentinel(o *Options) { o.ClientOption.Sentinel.MasterSet = masterSet }

// The primary is killed, and a sentinel has a replica take its place: the log is not taken
// for the one that was there before, and goes on.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	primary, replica, sentinel := watched(t)
	tier := open(t, sentinel, bySentinel)
	at := mustAppend(t, tier, mustSnapshot(t, tier, 0).At, record(1)).Head
	if at.Number != 2 {
		t.Fatalf("%+v", at)
	}
	replica.CatchUp(primary)

	primary.Kill()
	sentinel.FailOver(masterSet)
	redistest.Until(t, "the log answers", func() bool {
		reply, err := tier.Prove(t.Context(), at)
		if err == nil && (reply.Known || reply.Head.Epoch != 0) {
			t.Fatalf("the log of the replica is taken for that of the primary: %+v", reply)
		}
		return err == nil
	})
	reply := mustAppend(t, tier, at, record(2))
	if !reply.Appended || reply.Known || reply.Head.Epoch == at.Epoch || reply.Head.Number != 2 {
		t.Errorf("%+v", reply)
	}
	if s := mustSnapshot(t, tier, 0); s.At != reply.Head {
		t.Errorf("%+v, want %+v", s.At, reply.Head)
	}
	exercise(t, tier)
	exercise(t, open(t, sentinel, bySentinel, func(o *Options) { o.Namespace = "other" }))
}

// Nobody says that there is another primary, and the old one goes on as a replica, so that no
// connection ends: the new one is found nevertheless.
func TestSentinelSaysNothing(t *testing.T) {
	t.Parallel()
	primary, replica, sentinel := watched(t)
	tier := open(t, sentinel, bySentinel)
	at := mustSnapshot(t, tier, 0).At
	replica.CatchUp(primary)

	replica.Promote()
	primary.Follow(replica.Addr())
	if reply, err := tier.Prove(t.Context(), at); err == nil {
		t.Errorf("a replica proves the log: %+v", reply)
	}
	sentinel.Do("SENTINEL", "REMOVE", masterSet)
	_, port, err := net.SplitHostPort(replica.Addr())
	if err != nil {
		t.Fatal(err)
	}
	sentinel.Do("SENTINEL", "MONITOR", masterSet, "127.0.0.1", port, "1")
	works(t, tier)
	if reply, err := tier.Prove(t.Context(), at); err != nil || reply.Known {
		t.Errorf("the log of the replica is taken for that of the primary: %+v, %v", reply, err)
	}
	exercise(t, tier)
}

// A sentinel may name a primary that is none any more: that is so for a while.
func TestSentinelNamesADemotedPrimary(t *testing.T) {
	t.Parallel()
	primary, replica, sentinel := watched(t)
	replica.Promote()
	primary.Follow(replica.Addr())
	options := retrying(sentinel.Addr())
	bySentinel(&options)
	tier := openRetrying(t, options)
	for method, err := range everyMethod(t.Context(), tier) {
		if err == nil || !strings.HasPrefix(err.Error(), "redis: connecting to "+sentinel.Addr()+": the redis role is not master") {
			t.Errorf("%s: %v", method, err)
		}
	}
	primary.Promote()
	works(t, tier)
	exercise(t, tier)
}

// So may it name no replica that is ready, where those are to be asked for entries.
func TestSentinelNamesNoReplica(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	sentinel := redistest.StartSentinel(t, masterSet, primary, 0)
	options := retrying(sentinel.Addr())
	bySentinel(&options)
	options.ClientOption.SendToReplicas = func(rueidis.Completed) bool { return true }
	tier := openRetrying(t, options)
	if _, err := tier.Prove(t.Context(), cacheruntime.LogPosition{}); err == nil || !strings.HasSuffix(err.Error(), "not enough ready replicas") {
		t.Error(err)
	}
	// The other way to find it is to ask again, which it does now and then.
	redistest.StartReplica(t, primary)
	works(t, tier)
}

// The application's own client says by itself that it asks sentinels.
func TestOwnClientOfSentinels(t *testing.T) {
	t.Parallel()
	primary, replica, sentinel := watched(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{sentinel.Addr()},
		Sentinel:    rueidis.SentinelOption{MasterSet: masterSet, TopologyRefreshInterval: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	replica.Promote()
	primary.Follow(replica.Addr())
	options := retrying()
	options.Client = client
	tier := openRetrying(t, options)
	if _, err := tier.Prove(t.Context(), cacheruntime.LogPosition{}); err == nil || !strings.Contains(err.Error(), "replica") {
		t.Error(err)
	}
	primary.Promote()
	works(t, tier)
	exercise(t, tier)
}

// With sentinels a replica will be a primary, or not be named any more; without, somebody has
// to name the primary.
func TestReplicaIsUnreachableWithSentinels(t *testing.T) {
	t.Parallel()
	replica := redistest.StartReplica(t, redistest.Start(t))
	_, err := Open(t.Context(), Options{InitAddress: []string{replica.Addr()}, Namespace: "test", LogTimeout: 10 * time.Second})
	if err == nil || !strings.Contains(err.Error(), "replica") {
		t.Fatalf("opened on a replica: %v", err)
	}
	if unreachable(err, false) || !unreachable(err, true) {
		t.Errorf("%v: %t, with sentinels %t", err, unreachable(err, false), unreachable(err, true))
	}
	if unreachable(errors.New("the redis role is not master"), false) {
		t.Error("an error of sentinels without any")
	}
}

// A name that no sentinel knows does not come to be known by waiting.
func TestSentinelDoesNotKnowTheName(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t, masterSet, redistest.Start(t), 0)
	options := retrying(sentinel.Addr())
	options.ClientOption.Sentinel.MasterSet = "others"
	if _, err := Open(t.Context(), options); err == nil || !strings.Contains(err.Error(), "No such master with that name") {
		t.Error(err)
	}
}
