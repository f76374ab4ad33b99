// Package redistest starts what tests need that several processes take part in: Redis
// or Valkey servers, alone, with TLS, as a replica, with a sentinel or as a cluster; a proxy that
// loses, delays and stalls what goes through it; and the test binary itself once more, as a child.
//
//	server := redistest.Start(t)
//	proxy := redistest.StartProxy(t, server.Addr())
//	tier, err := redis.Open(ctx, redis.Options{InitAddress: []string{proxy.Addr()}})
//	proxy.Drop(redistest.ToClient) // Commands arrive, replies are lost.
//	server.Pause()                 // SIGSTOP
//
// The binary is redis-server or else valkey-server, as found in PATH, or the one that
// CACHEGEN_TEST_REDIS_SERVER names, by its path or as found in PATH:
//
//	CACHEGEN_TEST_REDIS_SERVER=valkey-server go test ./runtime/redis
//
// Redis 7.0 or newer will do, and Valkey. Where there is none the test is skipped, unless
// CACHEGEN_TEST_REDIS=required, which makes it fail.
//
// Everything listens on 127.0.0.1 and ends with its test, whatever state it is in. On
// Linux it also ends with the test binary, if that is killed. What servers and children
// have logged is shown when a test fails.
//
// # Children
//
// A test binary can have mains besides its tests. Its TestMain names them:
//
//	func TestMain(m *testing.M) {
//		redistest.Main(m, map[string]func(*redistest.ChildIO){"writer": writer})
//	}
//
//	func writer(io *redistest.ChildIO) {
//		blog := open(io.Args[0]) // the server's address
//		defer blog.Close()
//		for line := range io.Lines() {
//			io.Send("%v", blog.UpdateTitle(line))
//		}
//	}
//
// Parent and child talk in lines. A test starts a child, asks it, kills it:
//
//	child := redistest.Child(t, "writer", server.Addr())
//	if reply := child.Ask("new title"); reply != "<nil>" { … }
//	child.Send("another title")
//	child.Kill()
//
// A child that is not killed returns from its main when there are no more lines, and
// must do so without a panic, a data race or another exit code than 0, or else the
// test that started it fails.
//
// All methods but [Server.Try] and those of [Proxy] that say so must be called from
// the goroutine of the test, as they fail it.
package redistest
