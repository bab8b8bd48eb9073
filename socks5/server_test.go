package socks5

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var meshTargets = network{
	"db.mesh:5432":    echo,
	"100.64.0.1:80":   echo,
	"[fd7a::1]:80":    echo,
	"mirror.mesh:7":   mirror,
	"listen.mesh:513": func(c net.Conn) { io.Copy(io.Discard, c) },
}

const boundAt = "100.64.0.9:40000" // by network.Dial

func TestConnectKeepsHalfCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, &Server{Dial: meshTargets.Dial})
		for _, host := range []string{"db.mesh:5432", "100.64.0.1:80", "fd7a::1:80"} {
			i := strings.LastIndexByte(host, ':')
			var port uint16
			fmt.Sscan(host[i+1:], &port)
			c := p.connect(t)
			c.request(Connect, host[:i], port)
			c.want("the reply has the connection's own address", reply(succeeded, boundAt))
			c.send([]byte("question"))
			c.Conn.(*memConn).CloseWrite()
			c.want("the answer comes after the end of the question", []byte("question"))
			c.wantEnd("the end of the answer is passed on")
		}
	})
}

func TestHandshakeByteByByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, &Server{Dial: meshTargets.Dial, Auth: Credential("ann", "secret")})
		c := p.connect(t)
		each := func(b []byte) {
			for i := range b {
				c.send(b[i : i+1])
			}
		}
		each(withPassword)
		c.want("the password is asked for", []byte{5, 2})
		each(login("ann", "secret"))
		c.want("the password is right", []byte{1, 0})
		each(request(Connect, "mirror.mesh", 7))
		c.want("the target is connected", reply(succeeded, boundAt))
	})
}

func TestWhatFollowsTheRequestIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, &Server{Dial: meshTargets.Dial, Auth: Credential("ann", "secret")})
		c := p.connect(t)
		go c.Write(bytes.Join([][]byte{
			withPassword, login("ann", "secret"), request(Connect, "mirror.mesh", 7), []byte("early data"),
		}, nil))
		c.want("all of it is answered", bytes.Join([][]byte{
			{5, 2}, {1, 0}, reply(succeeded, boundAt), []byte("early data"),
		}, nil))
	})
}

// refusals are conversations that come to nothing: what the client sends, what
// it reads until the end, and what the log says of it.
var refusals = []struct {
	name string
	sent []byte
	want []byte
	log  string
}{
	{"no method that will do", []byte{5, 2, 0, 1}, []byte{5, 0xff}, "no method"},
	{"no method at all", []byte{5, 0}, []byte{5, 0xff}, "no method"},
	{"wrong password", join(withPassword, login("ann", "Secret")), []byte{5, 2, 1, 1}, "wrong password"},
	{"unknown user", join(withPassword, login("bob", "secret")), []byte{5, 2, 1, 1}, "bob"},
	{"no password", join(withPassword, login("ann", "")), []byte{5, 2, 1, 1}, "wrong password"},
	{"password message of another version", join(withPassword, []byte{5, 3}), []byte{5, 2}, "version 5"},
	{"SOCKS4", []byte{4, 1}, nil, "SOCKS4"},
	{"HTTP", []byte("CONNECT"), nil, "HTTP"},
	{"TLS", []byte{0x16, 3}, nil, "TLS"},
	{"another version in the request", join(loggedIn, []byte{4, 1, 0, 1, 1}), join(welcome), "version 4"},
	{"unknown command", join(loggedIn, request(9, "db.mesh", 80)), join(welcome, failed(commandUnknown)), "command 0x09"},
	{"unknown address type", join(loggedIn, []byte{5, 1, 0, 2, 1}), join(welcome, failed(addressTypeUnknown)), "address type"},
	{"name with a line break", join(loggedIn, request(Connect, "a\nb", 80)), join(welcome, failed(generalFailure)), "name"},
	{"empty name", join(loggedIn, request(Connect, "", 80)), join(welcome, failed(generalFailure)), "name"},
	{"BIND without a hook", join(loggedIn, request(Bind, "0.0.0.0", 0)), join(welcome, failed(commandUnknown)), "BIND"},
	{"UDP without a hook", join(loggedIn, request(Associate, "0.0.0.0", 0)), join(welcome, failed(commandUnknown)), "UDP ASSOCIATE"},
	{"not allowed", join(loggedIn, request(Connect, "forbidden.mesh", 80)), join(welcome, failed(notAllowed)), "not for you"},
	{"not found", join(loggedIn, request(Connect, "nobody.mesh", 80)), join(welcome, failed(hostUnreachable)), "no such host"},
	{"refused by the target", join(loggedIn, request(Connect, "refused.mesh", 80)), join(welcome, failed(connectionRefused)), "refused"},
	{"target too slow", join(loggedIn, request(Connect, "slow.mesh", 80)), join(welcome, failed(ttlExpired)), "deadline"},
	{"bytes after a request that fails", join(loggedIn, request(Connect, "nobody.mesh", 80), make([]byte, 1000)), join(welcome, failed(hostUnreachable)), "no such host"},
}

var loggedIn = join(withPassword, login("ann", "secret"))
var welcome = []byte{5, 2, 1, 0}

func join(b ...[]byte) []byte { return bytes.Join(b, nil) }

// strict is a Server that has something against most clients.
func strict() *Server {
	return &Server{
		Auth: Credential("ann", "secret"),
		Allow: func(_ context.Context, r *Request) error {
			if r.Host == "forbidden.mesh" {
				return errors.New("not for you")
			}
			return nil
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			switch address {
			case "refused.mesh:80":
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			case "slow.mesh:80":
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return meshTargets.Dial(ctx, network, address)
		},
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProxy(t, strict())
				c := p.connect(t)
				go c.Write(test.sent)
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, test.want) {
					t.Errorf("read %x, %v; want %x and the end", got, err, test.want)
				}
				c.Close()
				synctest.Wait()
				if log := p.log.String(); !strings.Contains(log, test.log) || strings.Contains(strings.ToLower(log), "secret") {
					t.Errorf("the log says: %s", log)
				}
			})
		})
	}
}

// whole is a conversation up to its reply.
var whole = join(loggedIn, request(Connect, "db.mesh", 5432))

func TestClientsThatLeaveAtAnyByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := strict()
		s.Dial = func(context.Context, string, string) (net.Conn, error) {
			t.Error("half a request was dialed")
			return nil, io.ErrUnexpectedEOF
		}
		p := newProxy(t, s)
		for n := range whole {
			c := p.connect(t)
			go io.Copy(io.Discard, c)
			c.send(whole[:n])
			c.Close()
		}
		synctest.Wait()
		if got := strings.Count(p.log.String(), "connection ended"); got != len(whole) {
			t.Errorf("%d of %d connections have ended", got, len(whole))
		}
	})
}

func TestClientsThatStopAtAnyByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, strict())
		for n := range whole {
			c := p.connect(t)
			begin := time.Now()
			go c.Write(whole[:n])
			if _, err := io.ReadAll(c); err != nil {
				t.Errorf("after %d bytes: %v", n, err)
			}
			if took := time.Since(begin); took != defaultHandshakeTimeout {
				t.Errorf("a client that stopped after %d bytes had %v", n, took)
			}
		}
	})
}

// A client that takes one byte of each second is not given more time.
func TestTheHandshakeHasOneDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, strict())
		c := p.connect(t)
		begin := time.Now()
		go func() {
			for i := range whole {
				time.Sleep(time.Second)
				c.Write(whole[i : i+1])
			}
		}()
		io.ReadAll(c)
		if took := time.Since(begin); took != defaultHandshakeTimeout {
			t.Errorf("a client with a byte each second had %v", took)
		}
		c.Close()
		time.Sleep(time.Hour)
	})
}

func TestAllowIsToldEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan Request, 1)
		never := errors.New("never")
		p := newProxy(t, &Server{
			Dial: meshTargets.Dial,
			Listen: func(context.Context, string, string) (net.Listener, error) {
				return nil, never
			},
			ListenPacket: func(context.Context, string, string) (net.PacketConn, error) {
				return nil, never
			},
			Auth:  Credential("ann", "secret"),
			Allow: func(_ context.Context, r *Request) error { got <- *r; return never },
		})
		for _, test := range []struct {
			request []byte
			want    Request
		}{
			{request(Connect, "DB.mesh", 5432), Request{Command: Connect, Host: "DB.mesh", Port: 5432}},
			{request(Bind, "100.64.0.1", 21), Request{Command: Bind, Host: "100.64.0.1", Port: 21}},
			{request(Associate, "192.0.2.1", 4000), Request{Command: Associate}},
		} {
			c := p.connect(t)
			go c.Write(join(loggedIn, test.request))
			c.want("the request is not allowed", join(welcome, failed(notAllowed)))
			test.want.User, test.want.Client = "ann", c.LocalAddr()
			if r := <-got; r != test.want {
				t.Errorf("Allow was asked about %+v, want %+v", r, test.want)
			}
		}
	})
}

func TestAllowHasTheTimeOfTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, &Server{
			Dial:  meshTargets.Dial,
			Allow: func(ctx context.Context, r *Request) error { <-ctx.Done(); return ctx.Err() },
		})
		c := p.connect(t)
		c.request(Connect, "db.mesh", 5432)
		begin := time.Now()
		c.want("the request is not allowed", failed(notAllowed))
		if took := time.Since(begin); took != defaultHandshakeTimeout {
			t.Errorf("Allow had %v", took)
		}
	})
}

func TestIdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, &Server{Dial: meshTargets.Dial, IdleTimeout: time.Minute})
		c := p.connect(t)
		c.request(Connect, "mirror.mesh", 7)
		c.want("the target is connected", reply(succeeded, boundAt))
		begin := time.Now()
		time.Sleep(59 * time.Second)
		c.send([]byte("x"))
		c.want("the connection lives", []byte("x"))
		c.wantEnd("the connection ends")
		if took := time.Since(begin); took != 119*time.Second {
			t.Errorf("an idle connection ended after %v", took)
		}
	})
}

func TestWithoutIdleTimeoutConnectionsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, &Server{Dial: meshTargets.Dial})
		c := p.connect(t)
		c.request(Connect, "mirror.mesh", 7)
		c.want("the target is connected", reply(succeeded, boundAt))
		time.Sleep(24 * time.Hour)
		c.send([]byte("x"))
		c.want("the connection lives", []byte("x"))
	})
}

// Those who open connections and say half a greeting, or nothing, lose their
// places to those who speak.
func TestSlowLoris(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, &Server{Dial: meshTargets.Dial, MaxConns: 10})
		old := p.connect(t)
		old.request(Connect, "mirror.mesh", 7)
		old.want("the first client is connected", reply(succeeded, boundAt))
		for i := range 50 {
			loris := p.connect(t)
			synctest.Wait()
			loris.send([]byte{5, 9, 0, 1}[:i%5])
		}
		synctest.Wait()
		c := p.connect(t)
		c.request(Connect, "mirror.mesh", 7)
		c.want("a client is connected among them", reply(succeeded, boundAt))
		c.send([]byte("hello"))
		c.want("it is served", []byte("hello"))
		old.send([]byte("hello"))
		old.want("so is the one before", []byte("hello"))
	})
}

func TestShutdownWaitsForConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, &Server{Dial: meshTargets.Dial})
		c, young := p.connect(t), p.connect(t)
		c.request(Connect, "db.mesh", 5432)
		c.want("the target is connected", reply(succeeded, boundAt))
		shut := make(chan error, 1)
		go func() { shut <- p.Shutdown(context.Background()) }()
		if err := <-p.done; err != ErrServerClosed {
			t.Errorf("Serve returned %v", err)
		}
		young.wantEnd("a connection in its handshake is closed")
		c.send([]byte("last words"))
		c.Conn.(*memConn).CloseWrite()
		c.want("a connection is served to its end", []byte("last words"))
		c.wantEnd("then it ends")
		if err := <-shut; err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
		if err := p.Serve(t.Context(), listenMem("127.0.0.1:1080")); err != ErrServerClosed {
			t.Errorf("Serve after Shutdown returned %v", err)
		}
	})
}

func TestShutdownEndsConnectionsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, &Server{Dial: meshTargets.Dial})
		c := p.connect(t)
		c.request(Connect, "mirror.mesh", 7)
		c.want("the target is connected", reply(succeeded, boundAt))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown returned %v", err)
		}
		c.wantEnd("the connection is closed")
	})
}

// The client has ended its direction, and the target says nothing.
func TestShutdownEndsHalfClosedConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := newProxy(t, &Server{Dial: network{"quiet.mesh:1": func(c net.Conn) {
			io.Copy(io.Discard, c)
			<-release
		}}.Dial})
		c := p.connect(t)
		c.request(Connect, "quiet.mesh", 1)
		c.want("the target is connected", reply(succeeded, boundAt))
		c.Conn.(*memConn).CloseWrite()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown returned %v", err)
		}
		c.wantEnd("the connection is closed")
		close(release)
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialing := make(chan struct{})
		p := newProxy(t, &Server{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			close(dialing)
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		c := p.connect(t)
		c.request(Connect, "db.mesh", 5432)
		<-dialing
		p.stop()
		if err := <-p.done; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve returned %v", err)
		}
		c.wantEnd("the connection is closed")
	})
}

func TestServeConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Dial: meshTargets.Dial}
		near, far := memPipe(tcpAddr("127.0.0.1:1"), tcpAddr("127.0.0.1:2"))
		served := make(chan struct{})
		go func() {
			defer close(served)
			s.ServeConn(t.Context(), far)
		}()
		c := &client{near, t}
		c.request(Connect, "mirror.mesh", 7)
		c.want("the target is connected", reply(succeeded, boundAt))
		select {
		case <-served:
			t.Error("ServeConn returned while the connection lives")
		default:
		}
		c.Close()
		<-served

		near, far = memPipe(tcpAddr("127.0.0.1:1"), tcpAddr("127.0.0.1:2"))
		new(Server).ServeConn(t.Context(), far)
		(&client{near, t}).wantEnd("without Dial nothing is served")
	})
}

// An open proxy is refused, unless it is meant.
func TestOpenProxy(t *testing.T) {
	auth := Credential("ann", "secret")
	for _, test := range []struct {
		name   string
		addr   net.Addr
		server *Server
		served bool
	}{
		{"loopback", tcpAddr("127.0.0.1:1080"), &Server{}, true},
		{"loopback, IPv6", tcpAddr("[::1]:1080"), &Server{}, true},
		{"Unix socket", &net.UnixAddr{Name: "/run/proxy", Net: "unix"}, &Server{}, true},
		{"in memory", textAddr("pipe"), &Server{}, true},
		{"all addresses", tcpAddr(":1080"), &Server{}, false},
		{"all IPv6 addresses", tcpAddr("[::]:1080"), &Server{}, false},
		{"a network", tcpAddr("192.0.2.1:1080"), &Server{}, false},
		{"a network, of another type", textAddr("192.0.2.1:1080"), &Server{}, false},
		{"all addresses, of another type", textAddr(":1080"), &Server{}, false},
		{"with a password", tcpAddr("192.0.2.1:1080"), &Server{Auth: auth}, true},
		{"if meant", tcpAddr("192.0.2.1:1080"), &Server{Anonymous: true}, true},
	} {
		test.server.Dial = meshTargets.Dial
		if err := test.server.servable(test.addr); (err == nil) != test.served {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	ln := listenMem("192.0.2.1:1080")
	err := (&Server{Dial: meshTargets.Dial}).Serve(t.Context(), ln)
	if err == nil || !strings.Contains(err.Error(), "Anonymous") {
		t.Errorf("Serve returned %v", err)
	}
	if _, err := ln.Accept(); err != net.ErrClosed {
		t.Errorf("the listener is left open: %v", err)
	}
	if err := new(Server).Serve(t.Context(), listenMem("127.0.0.1:1080")); err != errNoDial {
		t.Errorf("without Dial, Serve returned %v", err)
	}
}

func TestLogLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, &Server{Dial: meshTargets.Dial, Auth: Credential("ann", "secret")})
		c := p.connect(t)
		go c.Write(join(loggedIn, request(Connect, "db.mesh", 5432), []byte("question")))
		c.want("the target is connected", join(welcome, reply(succeeded, boundAt)))
		synctest.Wait()
		c.Conn.(*memConn).CloseWrite()
		c.want("it answers", []byte("question"))
		c.wantEnd("and ends")
		synctest.Wait()
		log := p.log.String()
		_, line, _ := strings.Cut(log, "level=")
		const want = `DEBUG msg="SOCKS5 connection ended" client=127.0.0.1:50000 user=ann command=CONNECT target=db.mesh:5432 sent=8 received=8` + "\n"
		if line != want {
			t.Errorf("the log says %q, want %q", line, want)
		}
	})
}

func TestCredential(t *testing.T) {
	auth := Credential("ann", "secret")
	for _, test := range []struct {
		user, password string
		want           bool
	}{
		{"ann", "secret", true},
		{"ann", "", false},
		{"", "secret", false},
		{"ann", "secret ", false},
		{"Ann", "secret", false},
		{"secret", "ann", false},
	} {
		if auth(test.user, test.password) != test.want {
			t.Errorf("%q with %q: %v", test.user, test.password, !test.want)
		}
	}
}

// A client that reads nothing does not hold the Server up for ever.
func TestAClientThatReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, &Server{Dial: meshTargets.Dial})
		c := p.connect(t)
		c.send(anonymous)
		begin := time.Now()
		synctest.Wait()
		time.Sleep(defaultHandshakeTimeout)
		synctest.Wait()
		if !strings.Contains(p.log.String(), os.ErrDeadlineExceeded.Error()) {
			t.Errorf("after %v the log says %q", time.Since(begin), p.log)
		}
	})
}
