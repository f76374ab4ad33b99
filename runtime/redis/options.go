package redis

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/redis/rueidis"
)

// Options say where Redis is and how it is used. Namespace is required, and either
// InitAddress or Client.
type Options struct {
	// InitAddress are the addresses, host:port, of one server, of some of a cluster, or
	// of sentinels, if ClientOption.Sentinel names a MasterSet. Sentinels have a user, a
	// password and a TLSConfig of their own there, and none by default.
	InitAddress []string
	// Username and Password are those of a user of the servers' ACL; see the package
	// comment for what it must be allowed. Both are empty by default.
	Username string
	Password string
	// TLSConfig makes connections use TLS. The default is plain TCP.
	TLSConfig *tls.Config
	// SelectDB is the number of the database, 0 by default. A cluster has that one only.
	SelectDB int

	// ClientOption is everything else that the client can be told. What is also a field of
	// Options must be given there only. Client-side caching is always disabled, as nothing
	// here uses it, and so are retries: an entry that could not be read is loaded, and the
	// log is asked again by what follows it. Whatever SendToReplicas says, replicas are
	// asked for entries alone. Dialer.Timeout is twice, ConnWriteTimeout three times the
	// longer of Timeout and LogTimeout by default; shorter ones end what is waited for longer.
	// With sentinels, which tell of a failover, Sentinel.Dialer has by default the timeout
	// and interval of Dialer, and Sentinel.TopologyRefreshInterval is 5 s, after which they
	// are asked whether there was one. ClusterOption.MaxMovedRedirections is 16 by default.
	ClientOption rueidis.ClientOption

	// Client is a client of the application's own, in place of all the above. It must not
	// be closed before the tier, and is not closed by it. If it sends commands to replicas,
	// those that are not read-only must not be among them. The log waits behind whatever
	// else is sent by it: a tier without one makes two, one of which is for the log alone. With
	// sentinels give it a Sentinel.TopologyRefreshInterval: without, a failover may escape it;
	// with a cluster a ClusterOption.MaxMovedRedirections: without, it asks two nodes that name
	// each other in turn for as long as they do.
	// Give it DisableRetry, too: while it sends a command again, the writer of the connection
	// that broke may still be reading its memory.
	Client rueidis.Client

	// RetryOnFailedConnect makes Open succeed if no server can be reached. Then all methods
	// of the tier but Claim and Close fail, and a cache goes without it as it does in any
	// other outage, until one of them finds that the servers can be reached and pass the
	// checks of Open. A call waits no longer for that than for an answer: Timeout or
	// LogTimeout. What a server has answered is an error of Open all the same, as are wrong
	// options; only that it is not ready, or is not the primary that sentinels say it is, is
	// none. The default is an error, as an address that is wrong should be noticed.
	RetryOnFailedConnect bool

	// Namespace tells apart what shares a Redis: up to 64 bytes of visible characters
	// but braces. All processes that invalidate each other have the same one.
	Namespace string

	// Timeout is how long reading or storing entries is waited for. The default is 100 ms,
	// the least 1 ms.
	Timeout time.Duration
	// LogTimeout is how long a command of the log is waited for, but for a snapshot,
	// which gets ten times as long, and for the wait for records, which may be 2 s and as long
	// as that, or 1 s if that is longer. The default is 1 s, the least 1 ms.
	LogTimeout time.Duration

	// LogLength is how many records the log keeps, or some more. The default is 100,000,
	// the least 100. A process that falls further behind cannot tell what it has missed, and
	// ends the epoch: all processes load everything again. So the log has to have room for
	// what all of them write while one does not follow; for its memory see the package
	// comment.
	LogLength int

	// MaxEntryBytes is the size of the largest entry that is stored or read. Larger
	// ones stay in the process that loaded them. The default is 1 MiB, the most 256 MiB.
	MaxEntryBytes int
	// MaxTTL is the TTL in Redis of entries that would have a longer one, or none. The
	// default is 24 h, the least 1 ms.
	MaxTTL time.Duration
	// CompressAbove makes entries of more than that many bytes be compressed, with S2,
	// if that makes them smaller. The default, 0, compresses none. What has been
	// compressed can be read whatever the setting is.
	CompressAbove int
}

const (
	defaultTimeout       = 100 * time.Millisecond
	defaultLogTimeout    = time.Second
	defaultLogLength     = 100_000
	minLogLength         = 100
	defaultMaxEntryBytes = 1 << 20
	mostMaxEntryBytes    = 256 << 20
	defaultMaxTTL        = 24 * time.Hour
	maxNamespaceBytes    = 64

	defaultRefreshInterval = 5 * time.Second
	defaultRedirections    = 16
)

// check fills in the defaults, and reports everything that is wrong.
func (o *Options) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("redis: "+format, args...)) }

	if err := checkNamespace(o.Namespace); err != nil {
		errs = append(errs, err)
	}
	inRange(wrong, "Timeout", &o.Timeout, defaultTimeout, time.Millisecond, math.MaxInt64)
	inRange(wrong, "LogTimeout", &o.LogTimeout, defaultLogTimeout, time.Millisecond, math.MaxInt64/10)
	inRange(wrong, "LogLength", &o.LogLength, defaultLogLength, minLogLength, math.MaxInt)
	inRange(wrong, "MaxEntryBytes", &o.MaxEntryBytes, defaultMaxEntryBytes, 1, mostMaxEntryBytes)
	inRange(wrong, "MaxTTL", &o.MaxTTL, defaultMaxTTL, time.Millisecond, math.MaxInt64)
	if o.CompressAbove < 0 {
		wrong("CompressAbove is %d bytes; it must be 0, to compress nothing, or more", o.CompressAbove)
	}
	if o.Client == nil {
		o.clientOption(wrong)
	} else if !o.noConnection() {
		wrong("Client cannot be combined with InitAddress, Username, Password, TLSConfig, SelectDB or ClientOption: give it its options where it is made")
	}
	return errors.Join(errs...)
}

func checkNamespace(name string) error {
	switch {
	case name == "":
		return errors.New("redis: Namespace is missing: name what the processes that share this log are, such as \"blog\"")
	case len(name) > maxNamespaceBytes:
		return fmt.Errorf("redis: the Namespace has %d bytes; it can have %d", len(name), maxNamespaceBytes)
	case !utf8.ValidString(name):
		return fmt.Errorf("redis: the Namespace %q is not valid UTF-8", name)
	}
	for _, r := range name {
		if r == '{' || r == '}' || unicode.IsSpace(r) || !unicode.IsGraphic(r) {
			return fmt.Errorf("redis: the Namespace %q has the character %q: use visible characters but braces", name, r)
		}
	}
	return nil
}

// inRange replaces 0 by the default, and checks that a value lies between two others. It
// tells only of the one that the value is beyond.
func inRange[T int | time.Duration](wrong func(string, ...any), name string, value *T, byDefault, least, most T) {
	switch {
	case *value == 0:
		*value = byDefault
	case *value < least:
		wrong("%s is %v; it must be at least %v, or 0 for %v", name, *value, least, byDefault)
	case *value > most:
		wrong("%s is %v; it must be at most %v, or 0 for %v", name, *value, most, byDefault)
	}
}

// noConnection reports whether nothing is said about how to connect. None of the client's
// options may be ignored, nor those that it will have, which is why they are not named here.
func (o *Options) noConnection() bool {
	c := o.ClientOption
	if len(c.InitAddress) == 0 {
		c.InitAddress = nil
	}
	return len(o.InitAddress) == 0 && o.Username == "" && o.Password == "" && o.TLSConfig == nil && o.SelectDB == 0 &&
		reflect.ValueOf(c).IsZero()
}

// sentinels reports whether sentinels say where the primary is.
func (o *Options) sentinels() bool {
	return o.ClientOption.Sentinel.MasterSet != "" || o.Client != nil && o.Client.Mode() == rueidis.ClientModeSentinel
}

// clientOption puts together what the client is told.
func (o *Options) clientOption(wrong func(string, ...any)) {
	c := &o.ClientOption
	var twice []string
	moveTo(&twice, "Username", &c.Username, o.Username)
	moveTo(&twice, "Password", &c.Password, o.Password)
	moveTo(&twice, "TLSConfig", &c.TLSConfig, o.TLSConfig)
	moveTo(&twice, "SelectDB", &c.SelectDB, o.SelectDB)
	if len(c.InitAddress) > 0 {
		twice = append(twice, "InitAddress")
	}
	if len(twice) > 0 {
		wrong("ClientOption has %s: use the field of Options", strings.Join(twice, ", "))
	}
	if len(o.InitAddress) == 0 {
		wrong("InitAddress is missing: name a server, such as 127.0.0.1:6379, or give a Client")
	}
	if slices.Contains(o.InitAddress, "") {
		wrong("InitAddress has an address that is empty: name a server, such as 127.0.0.1:6379")
	}
	for i, address := range o.InitAddress {
		if strings.Contains(address, "://") || strings.Contains(address, "@") {
			// Not told: it may have a password, and errors are logged.
			wrong("InitAddress[%d] is a URL, or has a user or password: give host:port, such as 127.0.0.1:6379, "+
				"and Username, Password, TLSConfig and SelectDB in their own fields of Options", i)
		}
	}
	c.InitAddress = append([]string(nil), o.InitAddress...) // the client may shuffle it
	if c.ReplicaOnly {
		wrong("ClientOption.ReplicaOnly cannot be used: the log is on the primary; SendToReplicas can send reads of entries to replicas")
	}
	if c.BlockingPoolSize == 1 {
		wrong("ClientOption.BlockingPoolSize is 1; it must be at least 2, or 0 for %d: a snapshot would wait behind the wait for records",
			rueidis.DefaultPoolSize)
	}

	if c.RetryDelay != nil {
		wrong("ClientOption.RetryDelay cannot be used: the client does not retry, what fails is tried again later")
	}
	if send := c.SendToReplicas; send != nil {
		c.SendToReplicas = func(cmd rueidis.Completed) bool { return entryRead(cmd) && send(cmd) }
	}
	c.DisableCache = true
	// A command that is tried again on another connection may be looked at still by what
	// writes to the one that broke, while the client uses its memory for the next command.
	// Redirections in a cluster are followed all the same.
	c.DisableRetry = true
	// Neither may end what is to be waited for, of which Timeout can be as long as there is.
	longest := min(max(o.Timeout, o.LogTimeout), math.MaxInt64/3)
	c.Dialer.Timeout = cmp.Or(c.Dialer.Timeout, 2*longest)
	c.ConnWriteTimeout = cmp.Or(c.ConnWriteTimeout, 3*longest)
	// Two nodes may each say that the other has a slot, until they have heard of each other.
	// The client itself would go back and forth for as long, as fast as it can.
	c.ClusterOption.MaxMovedRedirections = cmp.Or(c.ClusterOption.MaxMovedRedirections, defaultRedirections)
	if s := &c.Sentinel; s.MasterSet != "" {
		// The client itself would wait for ever, would not look whether a sentinel is still
		// there, and would stay with a primary that was demoted if it missed the message.
		s.Dialer.Timeout = cmp.Or(s.Dialer.Timeout, c.Dialer.Timeout)
		s.Dialer.KeepAlive = cmp.Or(s.Dialer.KeepAlive, c.Dialer.KeepAlive, rueidis.DefaultTCPKeepAlive)
		s.TopologyRefreshInterval = cmp.Or(s.TopologyRefreshInterval, defaultRefreshInterval)
	}
}

// moveTo sets a field of the client's options, unless it has been set there.
func moveTo[T comparable](twice *[]string, name string, to *T, value T) {
	var zero T
	if *to != zero {
		*twice = append(*twice, name)
		return
	}
	*to = value
}

// entryRead reports whether a command reads an entry. What is old there fails the test
// of its stamp, so that replicas may answer.
func entryRead(cmd rueidis.Completed) bool {
	return cmd.IsReadOnly() && len(cmd.Commands()) > 0 && cmd.Commands()[0] == "GETRANGE"
}
