package simnet

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

func TestStreamsAreConns(t *testing.T) {
	for name, prepare := range map[string]func(n *Network) (a, b *Host){
		"on one host": func(n *Network) (a, b *Host) {
			h := n.Host()
			return h, h
		},
		"through two NATs": func(n *Network) (a, b *Host) {
			outer := n.Router(RouterConfig{NAT: EasyNAT(), Inside: []netip.Prefix{prefix("100.64.0.1/10")}})
			return outer.Router(RouterConfig{NAT: HardNAT()}).Host(), n.Host()
		},
		"over links with latency and jitter": func(n *Network) (a, b *Host) {
			a, b = n.Host(), n.Host()
			a.Link().Set(Quality{Latency: time.Millisecond, Jitter: time.Millisecond})
			return a, b
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				n := New(1)
				a, b := prepare(n)
				c1, c2, err := connect(t, a, b)
				return c1, c2, func() { n.Close() }, err
			})
		})
	}
}

// streamLab is a connection over a link of 20 ms.
type streamLab struct {
	*Network
	t             *testing.T
	client        *Host
	there, server net.Conn // the client's end, the server's
}

const latency = 20 * time.Millisecond

func inStreamLab(t *testing.T, steps func(t *testing.T, l *streamLab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		client, server := n.Host(), n.Host()
		client.Link().Set(Quality{Latency: latency})
		there, back := mustConnect(t, client, server)
		steps(t, &streamLab{n, t, client, there, back})
	})
}

func (l *streamLab) write(c net.Conn, what string) {
	l.t.Helper()
	if _, err := io.WriteString(c, what); err != nil {
		l.t.Fatal(err)
	}
}

// want reads what a connection should bring, and says how long that took.
func (l *streamLab) want(sentence string, c net.Conn, what string) time.Duration {
	l.t.Helper()
	start, buf := time.Now(), make([]byte, len(what))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != what {
		l.t.Fatalf("%s: got %q, %v", sentence, buf, err)
	}
	return time.Since(start)
}

// wantNothing expects no byte for some time.
func (l *streamLab) wantNothing(sentence string, c net.Conn, d time.Duration) {
	l.t.Helper()
	c.SetReadDeadline(time.Now().Add(d))
	defer c.SetReadDeadline(time.Time{})
	if n, err := c.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
		l.t.Fatalf("%s: read %d bytes, %v", sentence, n, err)
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func TestStreamLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		client, server := n.Host(), n.Host()
		client.Link().Set(Quality{Latency: latency})
		server.Link().SetDown(Quality{Latency: 5 * time.Millisecond})
		start := time.Now()
		there, back := mustConnect(t, client, server)
		if took := time.Since(start); took != 2*latency+5*time.Millisecond {
			t.Errorf("dialing took %v, want there and back", took)
		}
		l := &streamLab{n, t, client, there, back}
		l.write(there, "ping")
		if took := l.want("up", back, "ping"); took != latency+5*time.Millisecond {
			t.Errorf("the way up took %v", took)
		}
		l.write(back, "pong")
		if took := l.want("down", there, "pong"); took != latency {
			t.Errorf("the way down took %v", took)
		}
		client.Link().Set(Quality{Latency: 2 * latency})
		l.write(there, "slow")
		client.Link().Set(Quality{})
		l.write(there, "fast")
		if took := l.want("what is fast waits for what is slow", back, "slowfast"); took != 2*latency+5*time.Millisecond {
			t.Errorf("they took %v", took)
		}
	})
}

// TestStreamKeepsBytes sends a lot over a link that does everything to them.
func TestStreamKeepsBytes(t *testing.T) {
	inStreamLab(t, func(t *testing.T, l *streamLab) {
		l.client.Link().Set(Quality{Latency: latency, Jitter: latency, Loss: 0.05, Rate: 100e6})
		sent := make([]byte, 3<<20+17)
		rand.Read(sent)
		go func() {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+len(rest)%77_777)
				l.there.Write(rest[:n])
				rest = rest[n:]
			}
			l.there.Close()
		}()
		if got, err := io.ReadAll(l.server); err != nil || !bytes.Equal(got, sent) {
			l.t.Errorf("%d of %d bytes arrived, %v", len(got), len(sent), err)
		}
	})
}

func TestStreamRate(t *testing.T) {
	inStreamLab(t, func(t *testing.T, l *streamLab) {
		l.client.Link().SetUp(Quality{Rate: 8 << 20}) // a mebibyte per second
		start := time.Now()
		go func() {
			l.there.Write(make([]byte, 5<<20))
			l.there.Close()
		}()
		io.Copy(io.Discard, l.server)
		if took := time.Since(start); took < 5*time.Second || took > 5100*time.Millisecond {
			t.Errorf("5 MiB at 1 MiB/s took %v", took)
		}
	})
}

func TestStreamBuffersAreBounded(t *testing.T) {
	inStreamLab(t, func(t *testing.T, l *streamLab) {
		l.there.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := l.there.Write(make([]byte, 10*window))
		if n != window || !isTimeout(err) {
			t.Fatalf("nobody reads, and %d bytes were written, %v; want %d", n, err, window)
		}
		l.there.SetWriteDeadline(time.Time{})
		written := make(chan error)
		go func() {
			_, err := l.there.Write(make([]byte, window))
			written <- err
		}()
		if _, err := io.ReadFull(l.server, make([]byte, 2*window)); err != nil {
			t.Error(err)
		}
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
}

// TestWritersTakeTurns has writers that wait for the one before them, without
// stopping the clock.
func TestWritersTakeTurns(t *testing.T) {
	inStreamLab(t, func(t *testing.T, l *streamLab) {
		const writers, size = 4, 2 * window
		for i := range writers {
			go l.there.Write(bytes.Repeat([]byte{byte('a' + i)}, size))
		}
		time.Sleep(time.Hour)
		got := make([]byte, writers*size)
		if _, err := io.ReadFull(l.server, got); err != nil {
			t.Fatal(err)
		}
		for i := range writers {
			if part := got[i*size : (i+1)*size]; bytes.Count(part, part[:1]) != size {
				t.Error("what several wrote is mixed")
			}
		}

		waiting := make(chan error)
		go l.there.Write(make([]byte, 2*window)) // has its turn for ever
		time.Sleep(time.Second)
		go func() {
			_, err := l.there.Write([]byte("x"))
			waiting <- err
		}()
		time.Sleep(time.Second)
		l.there.Close()
		if err := <-waiting; !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed while it waits for its turn: %v", err)
		}
	})
}

func TestHalfClose(t *testing.T) {
	inStreamLab(t, func(t *testing.T, l *streamLab) {
		l.write(l.there, "question")
		l.there.(closeWriter).CloseWrite()
		if got, err := io.ReadAll(l.server); string(got) != "question" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		time.Sleep(time.Hour)
		l.write(l.server, "answer")
		l.server.Close()
		if got, err := io.ReadAll(l.there); string(got) != "answer" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if len(l.circuits) != 0 || len(l.client.link.circuits) != 0 {
			t.Error("a connection that has ended is remembered")
		}
	})
}

func TestCloseStillDelivers(t *testing.T) {
	inStreamLab(t, func(t *testing.T, l *streamLab) {
		l.write(l.there, "the last words")
		l.there.Close()
		start := time.Now()
		if got, err := io.ReadAll(l.server); string(got) != "the last words" || err != nil || time.Since(start) != latency {
			t.Errorf("got %q, %v after %v", got, err, time.Since(start))
		}
		l.write(l.server, "into the void")
		time.Sleep(latency)
		if _, err := l.server.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("writing to who has gone: %v", err)
		}
	})
}

func TestCloseWakesAWriter(t *testing.T) {
	inStreamLab(t, func(t *testing.T, l *streamLab) {
		written := make(chan error)
		go func() {
			_, err := l.there.Write(make([]byte, 10*window))
			written <- err
		}()
		time.Sleep(time.Second)
		l.server.Close()
		if err := <-written; !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the reader has gone, and Write says %v", err)
		}
	})
}

func TestCutStallsStreams(t *testing.T) {
	inStreamLab(t, func(t *testing.T, l *streamLab) {
		link := l.client.Link()
		l.write(l.there, "under way, ")
		link.Cut()
		l.write(l.there, "and into the cut")
		l.write(l.server, "the other way")
		l.wantNothing("a link is cut", l.server, time.Minute)
		l.wantNothing("a link is cut", l.there, time.Minute)
		link.Heal()
		if took := l.want("the link is healed", l.server, "under way, and into the cut"); took != latency {
			t.Errorf("they arrived after %v, want the latency", took)
		}
		l.want("the link is healed", l.there, "the other way")

		link.Cut()
		time.Sleep(keepalive - time.Second)
		link.Heal()
		l.write(l.there, "alive")
		l.want("a cut was shorter than keepalives are patient", l.server, "alive")

		link.Cut()
		start := time.Now()
		for _, c := range []net.Conn{l.there, l.server} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) || time.Since(start) != keepalive {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		}
		if _, err := l.there.Write([]byte("x")); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("writing to it: %v", err)
		}
	})
}

func TestTwoCutsAreTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		a, b := n.Host(), n.Host()
		there, back := mustConnect(t, a, b)
		l := &streamLab{n, t, a, there, back}
		a.Link().Cut()
		b.Link().Cut()
		l.write(there, "hello")
		a.Link().Heal()
		l.wantNothing("another link is still cut", back, time.Minute)
		b.Link().Heal()
		l.want("both are healed", back, "hello")
	})
}

func TestResetEndsStreams(t *testing.T) {
	inStreamLab(t, func(t *testing.T, l *streamLab) {
		l.write(l.there, "arrived")
		time.Sleep(latency)
		l.write(l.there, "under way")
		l.client.Link().Reset()
		if got, err := io.ReadAll(l.server); string(got) != "arrived" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the reader got %q, %v", got, err)
		}
		if _, err := l.there.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the writer got %v", err)
		}
		mustConnect(t, l.client, l.client) // and the host lives
	})
}

func TestMoveStallsStreams(t *testing.T) {
	inStreamLab(t, func(t *testing.T, l *streamLab) {
		l.client.Move(l.Internet())
		l.write(l.there, "from the old address")
		l.wantNothing("the client has moved", l.server, keepalive-time.Second)
		if _, err := l.server.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("in the end: %v", err)
		}
	})
}

func TestDialIsRefusedAfterARoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		client, server := n.Router(RouterConfig{NAT: EasyNAT()}).Host(), n.Host()
		client.Link().Set(Quality{Latency: latency})
		start := time.Now()
		_, err := client.DialContext(t.Context(), "tcp", netip.AddrPortFrom(server.Addrs()[0], 80).String())
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(start) != 2*latency {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if len(n.circuits) != 0 {
			t.Error("a connection that never was is remembered")
		}
	})
}

func TestDialAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		client, server := n.Host(), n.Host()
		ln, err := server.Listen(t.Context(), "tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		addr := netip.AddrPortFrom(server.Addrs()[0], 80).String()
		client.Link().Cut()
		time.AfterFunc(5*time.Second, client.Link().Heal)
		start := time.Now()
		c, err := client.DialContext(t.Context(), "tcp", addr)
		if err != nil || time.Since(start) != 7*time.Second { // asked after 0, 1, 3 and 7
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		defer c.Close()

		client.Link().Cut()
		start = time.Now()
		if _, err := client.DialContext(t.Context(), "tcp", addr); !errors.Is(err, syscall.ETIMEDOUT) || time.Since(start) != 127*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := client.DialContext(ctx, "tcp", addr); !errors.Is(err, context.DeadlineExceeded) || !isTimeout(err) {
			t.Errorf("a dial without time: %v", err)
		}
	})
}

// TestDialGivenUp ends a dial while its answer is on the way.
func TestDialGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		client, server := n.Host(), n.Host()
		client.Link().Set(Quality{Latency: latency})
		ln, err := server.Listen(t.Context(), "tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		ctx, cancel := context.WithTimeout(t.Context(), latency*3/2)
		defer cancel()
		if _, err := client.DialContext(ctx, "tcp", netip.AddrPortFrom(server.Addrs()[0], 80).String()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up: %v", err)
		}
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server reads %v", err)
		}
	})
}

func TestNATsLetNoConnectionIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		home := n.Router(RouterConfig{NAT: &NAT{}})
		laptop, server := home.Host(), n.Host()
		_, accepted := mustConnect(t, laptop, server)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := server.DialContext(ctx, "tcp", accepted.RemoteAddr().String()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a dial to where a connection comes from: %v", err)
		}
	})
}

func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		client, server := n.Host(), n.Host()
		ln, err := server.Listen(t.Context(), "tcp", ":443")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		dial := func(network, addr string) (remote string, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			c, err := client.DialContext(ctx, network, addr)
			if err != nil {
				return "", err
			}
			defer c.Close()
			host, _, err := net.SplitHostPort(c.RemoteAddr().String())
			return host, err
		}
		var dns *net.DNSError
		if _, err := dial("tcp", "derp.example:443"); !errors.As(err, &dns) || !dns.IsNotFound {
			t.Errorf("an unknown name: %v", err)
		}
		addrs := server.Addrs()
		n.Name("derp.example", addrs...)
		for _, test := range []struct {
			network, addr string
			want          netip.Addr
		}{
			{"tcp", "derp.example:443", addrs[0]},
			{"tcp4", "derp.example:443", addrs[0]},
			{"tcp6", "derp.example:443", addrs[1]},
		} {
			if got, err := dial(test.network, test.addr); err != nil || got != test.want.String() {
				t.Errorf("%s %s: %v, %v; want %v", test.network, test.addr, got, err, test.want)
			}
		}
		n.Name("derp.example", ip("9.9.9.9"), addrs[1])
		if got, err := dial("tcp", "derp.example:443"); err != nil || got != addrs[1].String() {
			t.Errorf("the first address is dead: %v, %v", got, err)
		}
		n.Name("derp.example")
		if _, err := dial("tcp", "derp.example:443"); !errors.As(err, &dns) {
			t.Errorf("a name taken away: %v", err)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		a, b := n.Host(), n.Host()
		c, _ := mustConnect(t, a, b)
		pc := newSock(t, a).pc
		ln, err := b.Listen(t.Context(), "tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 5)
		wait := func(f func() error) { go func() { ended <- f() }() }
		wait(func() error { _, err := c.Read(make([]byte, 1)); return err })
		wait(func() error { _, err := c.Write(make([]byte, 2*window)); return err })
		wait(func() error { _, _, err := pc.ReadFrom(make([]byte, 1)); return err })
		wait(func() error { _, err := ln.Accept(); return err })
		wait(func() error { _, err := a.DialContext(t.Context(), "tcp", "9.9.9.9:80"); return err })
		synctest.Wait()
		n.Close()
		n.Close()
		for range cap(ended) {
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("the network is closed, and it says %v", err)
			}
		}
		for _, open := range []func() error{
			func() error { _, err := a.ListenPacket(t.Context(), "udp", ":0"); return err },
			func() error { _, err := a.Listen(t.Context(), "tcp", ":0"); return err },
			func() error { _, err := a.DialContext(t.Context(), "tcp", "9.9.9.9:80"); return err },
		} {
			if err := open(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the network is closed, and something new says %v", err)
			}
		}
	})
}
