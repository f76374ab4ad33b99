// Package redis keeps what the caches of several processes share in Redis, version 7.0
// or newer, or in Valkey: the log of invalidations, and entries. It is tested with Redis 7.0
// and 8.0 and with Valkey 8.1, alone, with replicas and sentinels, and as clusters.
//
//	tier, err := redis.Open(ctx, redis.Options{
//		InitAddress: []string{"127.0.0.1:6379"},
//		Namespace:   "blog",
//	})
//	…
//	cache, err := cacheruntime.New(cacheruntime.WithShared(tier))
//
// The cache closes the tier. Processes with the same namespace invalidate each other and
// share entries; those of other namespaces may use the same Redis.
//
// # What is in Redis
//
// The log of a namespace is three keys in one hash slot: {namespace}:log, a stream of the
// last [Options.LogLength] records; {namespace}:table, a string with the position of the
// last invalidation of each of 2^20 slots; and {namespace}:marks, a hash of the marks of
// writes in progress. Each is changed together with the others, by a script. They have no
// TTL. A record takes about 60 bytes and 4 for each slot it invalidates, so that the default
// of 100,000 records is about 10 MB if a write invalidates a handful; the table grows to
// 8 MiB with the first invalidations; a mark is as large as a record.
//
// The largest record there can be, of 2048 slots, with a mark of as many and the ends of 256
// others, takes about 25 KB. Where every write is as large as that the log grows to
// LogLength times as much: 2.5 GB with the default, so set a smaller one there. All marks
// together have 2^18 slots, which is 1 MiB, and there are 16,384 at most, of about 100 bytes
// more each.
//
// Entries are strings, of one key each: namespace:entry:{hash}key, of which hash is 16
// hexadecimal digits that spread them over all hash slots, and key is binary. The locks of
// cacheruntime.WithSharedFlights are namespace:lock:{hash}key. All these have a TTL, entries
// one of [Options.MaxTTL] at most.
//
// So maxmemory-policy has to be one of the volatile policies, or noeviction: any that evicts
// all keys alike may evict the log, with which every entry becomes useless. [Open] refuses
// them. Records are appended even if the memory limit is reached: one that is missing costs
// more than it takes.
//
// Every script of the log compares log, table, marks and server with each other before it
// does anything else. After a flush, a restart, a failover, an eviction, or when anything
// else has been at one of the keys, the log begins a new epoch. Nothing stale is
// served then, but for a while everything is loaded again.
// Attaching the first replica to a server that has had none begins an epoch as well, as Redis
// then begins a new history; so does the repl-backlog-ttl, an hour by default, for which the
// last replica has been gone.
//
// While a cluster moves the hash slot of the log to another node, the log can neither be asked
// nor told, as in an outage, for most of the time. Then it goes on there, in a new epoch.
// Nothing stands still where other slots are moved.
//
// Whoever else can write into the log can make every process take memory: the record that wakes
// one up is read whole, as no command reads a part of it, and only the server bounds its size
// (proto-max-bulk-len, 512 MB by default, for each field).
//
// As a restart begins an epoch, all that persistence keeps of use are marks, which processes
// enter again. A server that has save points, and stop-writes-on-bgsave-error, refuses every
// script of the log (MISCONF), those that only prove it included, while it cannot write to its
// disk.
//
// # What it costs
//
// Each method of the log is one round trip. Where a GET takes 12 µs of the server's time,
// a script that proves the log to be current takes about 60 µs, one that appends a record
// about 150 µs and 1.5 µs for each slot. A snapshot, which a process takes when it starts
// and when an epoch begins, sends the whole table, up to 8 MiB, in about 10 ms. (The
// benchmarks of this package tell how long it takes elsewhere.)
// It comes on a connection of its own, so that nothing else waits for it.
// Entries are read by one command each, which are pipelined.
//
// # Permissions
//
// A user that is restricted by an ACL needs the keys
//
//	~{namespace}:* ~namespace:*
//
// (with a backslash before each of *?[\ in the namespace) and the commands
//
//	+info +evalsha +eval +xread +getrange +set
//	+get +del +strlen +setrange +hget +hset +hdel +hlen +hgetall +xadd +xrange +xrevrange
//	+client|unblock +hello +ping
//
// of which the second line is what the scripts call; on a cluster also
//
//	+cluster|slots +cluster|shards +asking
//
// +readonly there if ClientOption.SendToReplicas is set, +select with [Options.SelectDB], and
// +role with sentinels. [Open] names what is missing, of all but the last three.
//
// Without +client|setinfo, which is known since Redis 7.2, the client cannot tell the server
// its name, and without the two of a cluster it cannot ask whether there is one. It goes
// without, but each connection leaves a line in ACL LOG.
package redis
