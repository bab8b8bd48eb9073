package meshtest

import (
	"context"
	"net"
	"time"

	"github.com/meshnet-go/meshnet"
)

// Path returns how packets from one node to another go at this moment, as the
// Status of the first has it: directly, or through a relay. It is the zero Path
// when from does not know to. Nodes look for a direct path when they exchange
// data. Path may be called from any goroutine.
func (m *Mesh) Path(from, to *meshnet.Server) meshnet.Path {
	p, _ := peer(from, to)
	return p.Path
}

// WaitDirect waits until the packets of two nodes go directly, in both
// directions. So that they have something to send it has them send datagrams of
// one byte to each other, to port 9, which is there to be ignored. When that
// takes more than half a minute the test has failed.
func (m *Mesh) WaitDirect(a, b *meshnet.Server) {
	m.t.Helper()
	m.waitPaths(a, b, "directly", func(p meshnet.Path) bool { return p.Direct.IsValid() })
}

// WaitRelayed is WaitDirect for packets that go through a relay: those of nodes
// that have no direct path, or have one no longer.
func (m *Mesh) WaitRelayed(a, b *meshnet.Server) {
	m.t.Helper()
	m.waitPaths(a, b, "through a relay", func(p meshnet.Path) bool { return p.Relay != "" })
}

func (m *Mesh) waitPaths(a, b *meshnet.Server, way string, want func(meshnet.Path) bool) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.ctx, patience)
	defer cancel()
	defer m.chat(ctx, a, b)()
	if !m.wait(ctx, func() bool { return want(m.Path(a, b)) && want(m.Path(b, a)) }) {
		m.t.Fatalf("meshtest: %q and %q do not reach each other %s: %q sends by %v, %q by %v",
			a.Hostname, b.Hostname, way, a.Hostname, m.Path(a, b), b.Hostname, m.Path(b, a))
	}
}

// chatEvery is how often nodes send to each other that wait for a path.
const chatEvery = 20 * time.Millisecond

// chat makes two nodes send to each other, until stop is called. The second one
// waits for a WireGuard session: when both want to begin one at the same time,
// none comes into being, and WireGuard tries again after five seconds.
func (m *Mesh) chat(ctx context.Context, a, b *meshnet.Server) (stop func()) {
	m.t.Helper()
	there, back := m.discard(ctx, a, b), m.discard(ctx, b, a)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		again := time.NewTicker(chatEvery)
		defer again.Stop()
		for ctx.Err() == nil {
			there.Write([]byte{0})
			if p, _ := peer(b, a); !p.LastHandshake.IsZero() {
				back.Write([]byte{0})
			}
			select {
			case <-again.C:
			case <-ctx.Done():
			}
		}
	}()
	return func() {
		cancel()
		<-done
		there.Close()
		back.Close()
	}
}

// discard returns a connection to where datagrams are ignored.
func (m *Mesh) discard(ctx context.Context, from, to *meshnet.Server) net.Conn {
	m.t.Helper()
	addr, _ := to.IPs()
	if !addr.IsValid() {
		m.t.Fatalf("meshtest: node %q is not up", to.Hostname)
	}
	conn, err := from.Dial(ctx, "udp", net.JoinHostPort(addr.String(), "9"))
	if err != nil {
		m.t.Fatalf("meshtest: sending from %q to %q: %v", from.Hostname, to.Hostname, err)
	}
	return conn
}
