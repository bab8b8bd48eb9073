package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

func TestPacketsBetweenHomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := regions(w.start("one.test"), w.start("two.test"))
		a, b := w.node(m, 1), w.node(m, 2)
		a.wantConnected("a is at home", time.Second, 1)
		b.wantConnected("b is at home", time.Second, 2)
		for i := range 300 {
			a.send(2, b, fmt.Sprint(i))
			b.want("packets arrive in order, from the first", 2, a, fmt.Sprint(i))
		}
		a.wantConnected("a opened b's home", 0, 1, 2)
		b.send(1, a, "answer")
		a.want("the answer arrives", 1, b, "answer")
	})
}

func TestRegionsAreThoseOfTheMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := regions(w.start("one.test"), w.start("two.test"))
		m.Regions[1].RegionID, m.Regions[2].RegionID = 2, 0 // says the coordinator
		a, b := w.node(m, 1), w.node(m, 2)
		b.wantConnected("b is at home", time.Second, 2)
		a.send(2, b, "hello")
		b.want("it arrives", 2, a, "hello")
		a.wantConnected("a opened b's home", time.Second, 1, 2)
		a.wantConnected("and closes it when it is idle", 2*idleTimeout, 1)
	})
}

func TestIdleRegionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := regions(w.start("one.test"), w.start("two.test"))
		a, b := w.node(m, 1), w.node(m, 2)
		b.wantConnected("b is at home", time.Second, 2)
		for range 10 {
			a.send(2, b, "now and then")
			b.want("it arrives", 2, a, "now and then")
			pass(idleTimeout - time.Second)
		}
		a.wantConnected("a region in use stays connected", 0, 1, 2)
		if n := w.dialed("two.test"); n != 2 {
			t.Errorf("region 2 was dialed %d times, want once by each", n)
		}
		a.wantConnected("an idle one does not; home does", 2*time.Second, 1)
		pass(time.Hour)
		a.wantConnected("home always does", 0, 1)
		a.send(2, b, "again")
		b.want("the region is opened again when it is needed", 2, a, "again")
	})
}

func TestHomeChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node(regions(w.start("one.test"), w.start("two.test")), 1)
		a.wantConnected("a is at home", time.Second, 1)
		a.SetHome(2)
		a.wantConnected("the new home is connected, the old one still is", time.Second, 1, 2)
		if s := a.Status(); s[0].Home || !s[1].Home {
			t.Errorf("status: %+v", s)
		}
		a.wantConnected("the old home is closed when idle", 2*idleTimeout, 2)
		a.SetHome(0)
		a.wantConnected("a node without a home is connected to nothing", 2*idleTimeout)
	})
}

func TestRelayRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cert, certName, err := derp.SelfSigned("one.test")
		if err != nil {
			t.Fatal(err)
		}
		w.startAs("one.test", cert)
		m := regions(&derpmap.Node{Name: "1a", HostName: "one.test", CertName: certName})
		a, b := w.node(m, 1), w.node(m, 1)
		a.wantConnected("a is at home", time.Second, 1)
		b.wantConnected("b is at home", time.Second, 1)

		w.stop("one.test")
		a.wantConnected("a notices that the relay is gone", time.Second)
		if s := a.Status(); len(s) != 1 || s[0].Err == nil {
			t.Errorf("status says no reason: %+v", s)
		}
		pass(time.Minute)
		if n := w.dialed("one.test"); n < 20 || n > 70 {
			t.Errorf("two nodes dialed %d times in a minute", n)
		}
		w.startAs("one.test", cert)
		b.wantConnected("b finds the relay again by itself", maxRetry, 1)
		a.wantConnected("so does a", maxRetry, 1)
		a.send(1, b, "back")
		b.want("packets go on", 1, a, "back")
	})
}

// After a change of network a connection may be dead without anybody saying so.
func TestDoubtedConnectionIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := regions(w.start("one.test"))
		var last *frozen
		a := w.nodeVia(func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := w.dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			last = newFrozen(c)
			return last, nil
		}, m, 1)
		a.wantConnected("a is at home", time.Second, 1)
		a.Check()
		pass(time.Minute)
		if n := w.dialed("one.test"); n != 1 {
			t.Errorf("a connection that stands was made anew: dialed %d times", n)
		}
		close(last.ice)
		a.Check()
		pass(answerTimeout + maxRetry)
		if n := w.dialed("one.test"); n != 2 {
			t.Errorf("dialed %d times after the connection died", n)
		}
		a.wantConnected("a is at home again", time.Second, 1)
	})
}

// A connection from an address that is the host's no more is dead, and nobody
// needs to wait for the relay to know it.
func TestConnectionFromALostAddressIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := regions(w.start("one.test"))
		local := netip.MustParseAddr("192.0.2.1")
		a := w.nodeVia(func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := w.dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return from{c, local}, nil
		}, m, 1)
		b := w.node(m, 1)
		a.wantConnected("a is at home", time.Second, 1)
		other := netip.MustParseAddr("198.51.100.1")
		a.SetAddrs([]netip.Addr{other})
		a.SetAddrs([]netip.Addr{local, other})
		a.SetAddrs([]netip.Addr{local})
		pass(time.Minute)
		if n := w.dialed("one.test"); n != 2 {
			t.Fatalf("a and b dialed %d times while a's address was there", n)
		}
		a.SetAddrs([]netip.Addr{other})
		a.send(1, b, "while there is no connection")
		b.want("a has connected again at once", 1, a, "while there is no connection")
		if n := w.dialed("one.test"); n != 3 {
			t.Errorf("a and b dialed %d times", n)
		}
	})
}

func TestPacketsWaitForTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := regions(w.start("one.test"))
		b := w.node(m, 1)
		b.wantConnected("b is at home", time.Second, 1)
		open := make(chan struct{})
		a := w.nodeVia(func(ctx context.Context, network, addr string) (net.Conn, error) {
			<-open
			return w.dial(ctx, network, addr)
		}, m, 1)
		for i := range 24 { // no more than the relay queues
			a.send(1, b, fmt.Sprint(i))
		}
		close(open)
		for i := range 24 {
			b.want("what was sent before there was a connection arrives, in order", 1, a, fmt.Sprint(i))
		}
	})
}

func TestPacketsDoNotWaitLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cert, certName, err := derp.SelfSigned("two.test")
		if err != nil {
			t.Fatal(err)
		}
		two := &derpmap.Node{Name: "2a", HostName: "two.test", CertName: certName} // does not run yet
		m := regions(w.start("one.test"), two)
		a, b := w.node(m, 1), w.node(m, 2)
		a.send(2, b, "old")
		pass(maxWait)
		pass(time.Second)
		w.startAs("two.test", cert)
		b.wantConnected("b is at home", maxRetry, 2)
		a.send(2, b, "new")
		b.want("what is too old is not sent", 2, a, "new")
	})
}

func TestUnreachableRegionIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := regions(w.start("one.test"), &derpmap.Node{Name: "2a", HostName: "nowhere.test"})
		a, b := w.node(m, 1), w.node(m, 1)
		a.send(2, b, "lost")
		pass(idleTimeout + maxRetry)
		if n := w.dialed("nowhere.test"); n < 10 || n > 30 {
			t.Errorf("dialed %d times in a minute", n)
		}
		if s := a.Status(); len(s) != 1 {
			t.Errorf("the region is still in use: %+v", s)
		}
		before := w.dialed("nowhere.test")
		pass(time.Minute)
		if n := w.dialed("nowhere.test"); n != before {
			t.Error("the region is still dialed")
		}
	})
}

func TestKeyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := regions(w.start("one.test"))
		a, b := w.node(m, 1), w.node(m, 1)
		a.wantConnected("a is at home", time.Second, 1)
		b.wantConnected("b is at home", time.Second, 1)

		old := a.key
		a.key = key.NewNode()
		a.SetKey(a.key)
		synctest.Wait()
		a.send(1, b, "it is me")
		b.want("packets come from the new key", 1, a, "it is me")
		b.send(1, a, "you")
		a.want("and reach it", 1, b, "you")
		b.Send(1, old.Public(), []byte("you"))
		a.wantNothing("but no longer the old one")

		a.SetKey(key.NodePrivate{})
		a.wantConnected("without a key there is no connection", time.Second)
		if err := a.Send(1, b.public(), nil); err == nil {
			t.Error("something was sent without a key")
		}
	})
}

func TestMapChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		one, two := w.start("one.test"), w.start("two.test")
		a, b := w.node(regions(one), 1), w.node(regions(one), 1)
		a.wantConnected("a is at home", time.Second, 1)

		a.SetMap(regions(one))
		same := *one
		a.SetMap(regions(&same, two))
		pass(time.Second)
		if n := w.dialed("one.test"); n != 2 {
			t.Errorf("a map with the same relay made a and b dial %d times", n)
		}

		a.SetMap(regions(two))
		b.SetMap(regions(two))
		a.send(1, b, "moved") // b may not be there yet
		b.wantConnected("b is where its region is now", time.Second, 1)
		a.wantConnected("a too", time.Second, 1)
		a.send(1, b, "moved")
		b.want("packets go through the new relay", 1, a, "moved")
		if w.dialed("two.test") != 2 {
			t.Error("the new relay was not dialed once by each")
		}

		a.SetMap(&derpmap.Map{})
		a.wantConnected("without a region there is no connection", time.Second)
		if err := a.Send(1, b.public(), nil); err == nil {
			t.Error("something was sent to a region that is not in the map")
		}
		a.SetMap(regions(two))
		a.wantConnected("home is found again when the map has it", time.Second, 1)
		a.SetMap(nil)
		a.wantConnected("no map is an empty one", time.Second)
	})
}

func TestNobodyReceives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := regions(w.start("one.test"))
		a, b := w.node(m, 1), w.node(m, 1)
		b.wantConnected("b is at home", time.Second, 1)
		a.wantConnected("a is at home", time.Second, 1)
		for range 10 * received { // more than all queues hold
			a.send(1, b, "packet")
			synctest.Wait()
		}
		pass(time.Minute) // the relay lets b go, who does not read
		if n := len(b.Recv()); n != received {
			t.Errorf("%d packets wait", n)
		}
		for quiet := false; !quiet; {
			select {
			case p := <-b.Recv():
				p.Release()
			case <-time.After(time.Second):
				quiet = true
			}
		}
		b.wantConnected("b is connected, still or again", maxRetry, 1)
		a.send(1, b, "last")
		b.want("packets go on when they are taken again", 1, a, "last")
	})
}

func TestAbsentPeersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := regions(w.start("one.test"))
		a, b := w.node(m, 1), w.node(m, 1)
		a.wantConnected("a is at home", time.Second, 1)
		b.send(1, a, "hello")
		a.want("a hears from b", 1, b, "hello")
		b.Close()
		synctest.Wait()
		if s := a.Status(); s[0].Absent != 1 {
			t.Errorf("status after a peer left: %+v", s)
		}
	})
}

func TestClose(t *testing.T) {
	hang := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for name, use := range map[string]func(w *world) *Pool{
		"unused":    func(*world) *Pool { return NewPool(Config{}) },
		"connected": func(w *world) *Pool { return w.node(regions(w.start("one.test")), 1).Pool },
		"dialing": func(w *world) *Pool {
			p := NewPool(Config{Key: key.NewNode(), DialContext: hang})
			p.SetMap(regions(&derpmap.Node{HostName: "one.test"}))
			p.SetHome(1)
			return p
		},
		"waiting to dial again": func(w *world) *Pool {
			return w.node(regions(&derpmap.Node{HostName: "nowhere.test"}), 1).Pool
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := use(newWorld(t))
				synctest.Wait()
				start := time.Now()
				p.Close()
				if d := time.Since(start); d > 0 {
					t.Errorf("Close took %v", d)
				}
				if _, ok := <-p.Recv(); ok {
					t.Error("a closed pool received something")
				}
				if err := p.Send(1, key.NewNode().Public(), nil); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Send after Close: %v", err)
				}
				p.SetHome(2)
				p.SetKey(key.NewNode())
				p.SetMap(nil)
				if p.Connected(1) || len(p.Status()) > 0 {
					t.Error("a closed pool is connected")
				}
				p.Close()
			})
		})
	}
}

// TestProbeLatency measures regions that the node is connected to and others,
// without a key, and without becoming known there.
func TestProbeLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := regions(w.start("one"), w.start("two"), &derpmap.Node{HostName: "down"}, &derpmap.Node{HostName: "hangs"})
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "hangs:443" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			nc, err := w.dial(ctx, network, addr)
			if addr == "two:443" && err == nil {
				return late{nc}, nil
			}
			return nc, err
		}
		p := NewPool(Config{DialContext: dial})
		defer p.Close()
		if _, err := p.ProbeLatency(t.Context(), 1); !errors.Is(err, errNoRegion) {
			t.Errorf("without a map: %v", err)
		}
		p.SetMap(m)
		if took, err := p.ProbeLatency(t.Context(), 2); took != lateness || err != nil {
			t.Errorf("a relay that is far away: %v, %v", took, err)
		}
		if took, err := p.ProbeLatency(t.Context(), 1); took <= 0 || took >= lateness || err != nil {
			t.Errorf("a relay that is near: %v, %v", took, err)
		}
		if took, err := p.ProbeLatency(t.Context(), 3); took != 0 || err == nil {
			t.Errorf("a relay that is down: %v, %v", took, err)
		}
		if status := p.Status(); len(status) != 0 {
			t.Errorf("measured regions are in use: %v", status)
		}

		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.ProbeLatency(ctx, 4); err == nil || time.Since(start) != time.Second {
			t.Errorf("a relay that hangs: %v after %v", err, time.Since(start))
		}
		ended := make(chan error)
		go func() {
			_, err := p.ProbeLatency(context.Background(), 4)
			ended <- err
		}()
		synctest.Wait()
		p.Close()
		if err := <-ended; err == nil || time.Since(start) != time.Second {
			t.Errorf("a Pool that is closed meanwhile: %v after %v", err, time.Since(start))
		}
		if _, err := p.ProbeLatency(t.Context(), 1); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a Pool that was closed: %v", err)
		}
	})
}

func TestHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := regions(w.start("one"))
		pass(time.Second)
		a, b := w.node(m, 1), w.node(m, 1)
		if at := a.Heard(1); !at.IsZero() {
			t.Errorf("before anything was said: %v", at)
		}
		a.wantConnected("a is at home", time.Second, 1)
		b.wantConnected("b is at home", time.Second, 1)
		pass(10 * time.Second)
		b.send(1, a, "hello")
		a.want("a packet", 1, b, "hello")
		if since := time.Since(a.Heard(1)); since > time.Second {
			t.Errorf("with a packet: %v ago", since)
		}
		pass(30 * time.Second)
		if since := time.Since(a.Heard(1)); since < 29*time.Second {
			t.Errorf("after half a minute: %v ago", since)
		}
		if at := a.Heard(2); !at.IsZero() {
			t.Errorf("a region that is not in use: %v", at)
		}
	})
}

const lateness = 150 * time.Millisecond

// late is a connection over which everything that is written takes a while.
type late struct{ net.Conn }

func (l late) Write(b []byte) (int, error) {
	<-time.After(lateness)
	return l.Conn.Write(b)
}
