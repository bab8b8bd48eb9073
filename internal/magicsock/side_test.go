package magicsock

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/path"
	"github.com/meshnet-go/meshnet/key"
)

// A pinger is the other end of disco, which does what a test wants.
type pinger struct {
	key    key.NodePrivate
	disco  key.DiscoPrivate
	shared key.DiscoShared
	socket net.PacketConn
}

// newPinger makes a pinger at an address, and a Conn with it as its only peer.
func newPinger(t *testing.T, w *wire, addr string) (*Conn, *pinger, *peer) {
	t.Helper()
	g := &pinger{key: key.NewNode(), disco: key.NewDisco()}
	cfg := Config{Logger: slog.New(slog.DiscardHandler), Node: key.NewNode(), Disco: key.NewDisco(), ListenPacket: w.listener(netip.MustParseAddr("198.51.100.1"))}
	c := newConn(cfg, new(memRelays).pool(cfg.Node.Public()))
	t.Cleanup(func() { c.Close() })
	receivers, _, err := c.Bind().Open(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, receive := range receivers {
		go func() {
			packet := [][]byte{make([]byte, 1<<16)}
			for err := error(nil); err == nil; {
				_, err = receive(packet, make([]int, 1), make([]conn.Endpoint, 1))
			}
		}()
	}
	c.SetPeers([]Peer{{Key: g.key.Public(), Disco: g.disco.Public()}})
	g.shared = g.disco.Shared(cfg.Disco.Public())
	g.at(t, w, addr)
	return c, g, (*c.peers.Load())[g.key.Public()]
}

// at moves the pinger to an address.
func (g *pinger) at(t *testing.T, w *wire, addr string) {
	t.Helper()
	var err error
	if g.socket, err = w.listener(netip.MustParseAddr(addr))(context.Background(), "udp4", ":7"); err != nil {
		t.Fatal(err)
	}
}

// pings are those that have arrived, by the socket that they came from.
func (g *pinger) pings() map[net.Addr]disco.TxID {
	all := make(map[net.Addr]disco.TxID)
	for len(g.socket.(*wireSocket).in) > 0 {
		buf := make([]byte, 2000)
		n, from, _ := g.socket.ReadFrom(buf)
		if m, err := disco.Open(buf[:n], &g.shared); err == nil {
			if ping, ok := m.(disco.Ping); ok {
				all[from] = ping.TxID
			}
		}
	}
	return all
}

func (g *pinger) send(to net.Addr, m disco.Message) {
	g.socket.WriteTo(disco.Seal(nil, g.disco.Public(), &g.shared, m), to)
	synctest.Wait()
}

// use says that something was sent to a peer.
func use(c *Conn, p *peer) {
	p.sent.Store(sentSmall)
	c.do(func() { c.happened(p, (*path.Peer).Tick) })
}

// search has a Conn search the pinger from side sockets, for a while.
func (g *pinger) search(c *Conn, p *peer) {
	c.do(func() {
		c.meet(p)
		p.search.plan.Start(time.Now(), path.HardSide, g.socket.(*wireSocket).addr, nil, 1)
		c.searching = p
		c.happened(p, (*path.Peer).Tick)
	})
	time.Sleep(time.Second)
	synctest.Wait()
}

// wide counts the sockets of a search that are made for data.
func wide(c *Conn, p *peer) (sockets, wide int) {
	c.do(func() {
		sockets = len(p.search.sockets)
		for _, s := range p.search.sockets {
			if s.wide {
				wide++
			}
		}
		if p.side != nil && !p.search.has(p.side) && p.side.wide {
			sockets, wide = sockets+1, wide+1
		}
	})
	return sockets, wide
}

// A peer that pings all sockets of a search does not make us keep megabytes for
// each.
func TestOnlyWaysAreWide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		c, g, p := newPinger(t, w, "198.51.100.2")
		g.search(c, p)
		pings := g.pings()
		for from := range pings {
			g.send(from, disco.Ping{TxID: disco.TxID{1}})
		}
		if sockets, wide := wide(c, p); len(pings) < 50 || sockets < 50 || wide != 0 {
			t.Errorf("%d sockets, %d seen, of which %d are wide", sockets, len(pings), wide)
		}
		for from, tx := range pings {
			g.send(from, disco.Pong{TxID: tx})
		}
		if sockets, wide := wide(c, p); sockets != 1 || wide != 1 {
			t.Errorf("%d sockets are left, %d are wide, want the one that works", sockets, wide)
		}
	})
}

// When we find a better way the peer may not, and still sends to the side socket.
func TestSideSocketLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		c, g, p := newPinger(t, w, "198.51.100.2")
		old := *g
		goes := func() (to netip.AddrPort, side bool) {
			info, _ := c.PeerInfo(g.key.Public())
			c.do(func() { side = p.side != nil })
			return info.Direct, side
		}
		use(c, p)
		g.search(c, p)
		var ours net.Addr
		for from, tx := range g.pings() {
			g.send(from, disco.Pong{TxID: tx})
			ours = from
			break
		}
		if to, side := goes(); to != g.socket.(*wireSocket).addr || !side {
			t.Fatalf("goes to %v, with a side socket: %v", to, side)
		}

		g.at(t, w, "127.0.0.1") // which is much nearer
		g.send(net.UDPAddrFromAddrPort(c.sockets.v4.LocalAddr()), disco.Ping{TxID: disco.TxID{2}})
		for from, tx := range g.pings() {
			g.send(from, disco.Pong{TxID: tx})
		}
		for range 10 {
			if to, side := goes(); to != g.socket.(*wireSocket).addr || !side {
				t.Fatalf("goes to %v, while the peer uses a side socket: %v", to, side)
			}
			time.Sleep(3 * time.Second)
			old.send(ours, disco.Ping{TxID: disco.TxID{3}})
			for from, tx := range g.pings() {
				g.send(from, disco.Pong{TxID: tx})
			}
			use(c, p)
		}
		time.Sleep(sideLinger)
		synctest.Wait()
		if _, side := goes(); side {
			t.Error("a side socket stays that nobody uses")
		}
	})
}

// A peer with another disco key is another process, behind another NAT maybe.
func TestSearchEndsWithThePeersProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		c, g, p := newPinger(t, w, "198.51.100.2")
		g.search(c, p)
		if sockets, _ := wide(c, p); sockets == 0 {
			t.Fatal("there is no search")
		}
		c.SetPeers([]Peer{{Key: g.key.Public(), Disco: key.NewDisco().Public()}})
		g.pings()
		time.Sleep(time.Second)
		sockets, _ := wide(c, p)
		c.do(func() {
			if sockets != 0 || c.searching != nil || p.search.plan.Running() {
				t.Errorf("the search goes on, with %d sockets", sockets)
			}
		})
		if n := len(g.socket.(*wireSocket).in); n != 0 {
			t.Errorf("%d packets came to where the process was", n)
		}
	})
}

// Whoever says that it has another's disco key does not keep us from the other.
func TestSharedDiscoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		c, g, _ := newPinger(t, w, "198.51.100.2")
		twins := make([]Peer, 2)
		for i := range twins {
			addr := g.socket.(*wireSocket).addr
			twins[i] = Peer{Key: key.NewNode().Public(), Disco: g.disco.Public(), Endpoints: []netip.AddrPort{addr}}
		}
		c.SetPeers(twins)
		for _, twin := range twins {
			use(c, (*c.peers.Load())[twin.Key])
			for from, tx := range g.pings() {
				g.send(from, disco.Pong{TxID: tx})
			}
			if info, _ := c.PeerInfo(twin.Key); !info.Direct.IsValid() {
				t.Error("the pong of one is not taken for its own")
			}
		}
	})
}
