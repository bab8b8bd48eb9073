package derp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

// meshTo runs a link from r to another relay until the test ends, or the
// returned function is called.
func (r *relay) meshTo(t *testing.T, other *relay) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Mesh(ctx, other.dialConfig(key.NodePrivate{})) }()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

// newMesh makes relays of one region that know each other.
func newMesh(t *testing.T, n int) []*relay {
	t.Helper()
	mesh := NewMeshKey()
	var all []*relay
	for range n {
		all = append(all, newRelay(t, ServerConfig{MeshKey: mesh}))
	}
	for _, a := range all {
		for _, b := range all { // itself too, as with one list for all
			a.meshTo(t, b)
		}
	}
	synctest.Wait()
	for _, r := range all {
		if links := r.Stats().Links; links != n-1 {
			t.Fatalf("a relay of %d has links to %d", n, links)
		}
	}
	return all
}

func TestMeshForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relays := newMesh(t, 3)
		var members []member
		for _, r := range relays {
			members = append(members, r.join(t))
		}
		synctest.Wait()
		for i, from := range members {
			for j, to := range members {
				packet := fmt.Sprintf("from %d to %d", i, j)
				from.send(t, to, packet)
				to.wantPacket(t, "packets come from all relays of the region", from, packet)
				from.send(t, to, disco(packet))
				to.wantPacket(t, "so does disco", from, disco(packet))
			}
		}
		large := strings.Repeat("x", MaxPacketSize)
		members[0].send(t, members[1], large)
		members[1].wantPacket(t, "so do large ones", members[0], large)
		st := relays[0].Stats()
		if st.Remote != 4 || st.Clients != 3 { // with the relays themselves
			t.Errorf("figures of a relay: %+v", st)
		}
	})
}

func TestMeshTellsWhoIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relays := newMesh(t, 2)
		a, b := relays[0].join(t), relays[1].join(t)
		synctest.Wait()
		a.send(t, b, "hello")
		b.wantPacket(t, "b hears from a", a, "hello")
		a.Close()
		b.wantGone(t, "b is told by its relay that a has left the other", a.public(), PeerGoneDisconnected)
		b.sendKey(t, a.public(), disco("are you there?"))
		b.wantGone(t, "a is nowhere", a.public(), PeerGoneNotHere)
	})
}

func TestMeshFollowsWhoMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relays := newMesh(t, 2)
		a, priv := relays[0].join(t), key.NewNode()
		there := relays[1].joinAs(t, priv)
		synctest.Wait()
		a.send(t, there, "1")
		there.wantPacket(t, "the packet goes to the other relay", a, "1")

		here := relays[0].joinAs(t, priv)
		synctest.Wait()
		a.send(t, here, "2")
		here.wantPacket(t, "our own connection is nearer", a, "2")

		here.Close()
		synctest.Wait()
		a.send(t, there, "3")
		there.wantPacket(t, "the packet goes to the other relay again", a, "3")
		there.Close()
		synctest.Wait()
		a.wantSilence(t, "who has never heard from a key is not told that it is gone")
	})
}

func TestMeshBreaksAndHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mesh := NewMeshKey()
		one, two := newRelay(t, ServerConfig{MeshKey: mesh}), newRelay(t, ServerConfig{MeshKey: mesh})
		one.meshTo(t, two)
		stop := two.meshTo(t, one)
		synctest.Wait()
		a, b := one.join(t), two.join(t)
		synctest.Wait()
		a.send(t, b, "hello")
		b.wantPacket(t, "b hears from a", a, "hello")

		stop()
		b.wantGone(t, "b is told that a cannot be reached any more", a.public(), PeerGoneDisconnected)
		two.meshTo(t, one)
		synctest.Wait()
		b.send(t, a, "again")
		a.wantPacket(t, "a is reached by the new link", b, "again")

		one.Disconnect(two.PublicKey()) // the link from two
		synctest.Wait()
		b.send(t, a, "lost")
		<-time.After(meshRetry)
		synctest.Wait()
		b.send(t, a, "back")
		a.wantPacket(t, "the link comes back by itself", b, "back")
	})
}

// A link that takes nothing does not hold up who sends to others.
func TestMeshSlowRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{MeshKey: NewMeshKey()})
		a, b, far := r.join(t), r.join(t), key.NewNode().Public()
		stuck := &stuckConn{closed: make(chan struct{})}
		l := &link{peers: map[key.NodePublic]struct{}{}, destination: destination{
			remote: true, conn: stuck, out: newOutbox(&r.messages, meshPacketBytes, meshDiscoBytes),
		}}
		r.registry.addLink(l)
		r.isAt(far, l)
		packet := make([]byte, 1400)
		start := time.Now()
		for range 2 * meshPacketBytes / messageCost {
			a.Send(far, packet)
		}
		a.send(t, b, "hello")
		b.wantPacket(t, "others are not held up", a, "hello")
		if d := time.Since(start); d > 2*maxWait {
			t.Errorf("the sender was held up for %v", d)
		}
		stuck.Close()
		r.registry.removeLink(l)
		l.out.close()
	})
}

// stuckConn blocks every write until it is closed.
type stuckConn struct{ closed chan struct{} }

func (s *stuckConn) Write(p []byte) (int, error) { <-s.closed; return 0, errors.New("closed") }
func (s *stuckConn) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}
func (s *stuckConn) CloseWrite() error { return nil }

func TestMeshNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		if err := r.Mesh(t.Context(), r.dialConfig(key.NodePrivate{})); err == nil {
			t.Error("a relay without a mesh key meshes")
		}
		r = newRelay(t, ServerConfig{MeshKey: NewMeshKey()})
		if err := r.Mesh(t.Context(), DialConfig{}); err == nil {
			t.Error("a relay meshes with nobody")
		}
		if err := r.Mesh(t.Context(), r.dialConfig(key.NodePrivate{})); err != nil {
			t.Errorf("a relay's link to itself ends with %v", err)
		}
		r.Close()
		other := newRelay(t, ServerConfig{})
		if err := r.Mesh(t.Context(), other.dialConfig(key.NodePrivate{})); err != nil {
			t.Errorf("the link of a closed relay ends with %v", err)
		}
	})
}

func TestMeshKeyIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{MeshKey: NewMeshKey()})
		cfg := r.dialConfig(key.NewNode())
		cfg.MeshKey = NewMeshKey()
		c, err := Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.WatchConns()
		if f, err := c.Recv(); err == nil {
			t.Errorf("who does not know the mesh key is told %+v", f)
		}
	})
}

func TestWatchAndClosePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mesh := NewMeshKey()
		asked := 0
		r := newRelay(t, ServerConfig{MeshKey: mesh, Admit: func(context.Context, key.NodePublic, netip.AddrPort) error {
			asked++
			return nil
		}})
		a := r.join(t)
		priv := key.NewNode()
		cfg := r.dialConfig(priv)
		cfg.MeshKey = mesh
		c, err := Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if asked != 1 {
			t.Errorf("the relay asked about %d clients, one of which knows the mesh key", asked)
		}
		c.WatchConns()
		watcher := member{c, priv}
		seen := map[key.NodePublic]PeerFlags{}
		for range 2 {
			watcher.want(t, "who is there already", func(f Frame) bool {
				seen[f.Peer] = f.Flags
				return f.Type == FramePeerPresent
			})
		}
		if seen[a.public()] != PeerRegular || seen[priv.Public()] != PeerRelay {
			t.Errorf("there are %v", seen)
		}
		b := r.join(t)
		watcher.want(t, "who comes", func(f Frame) bool { return f.Type == FramePeerPresent && f.Peer == b.public() })
		c.ClosePeer(a.public())
		if _, err := a.Recv(); err == nil {
			t.Error("a is still connected")
		}
		watcher.want(t, "who goes", func(f Frame) bool { return f.Type == FramePeerGone && f.Peer == a.public() })
	})
}

func TestNewsAreBoundedByTheNumberOfClients(t *testing.T) {
	n := newNews()
	a, b := key.NewNode().Public(), key.NewNode().Public()
	for range 1000 {
		n.add(change{key: a, flags: PeerRegular}, change{key: a})
	}
	n.add(change{key: b, flags: PeerRegular, addr: netip.MustParseAddrPort("192.0.2.1:7")})
	frames := n.appendTo(nil, batchBytes)
	if want := (headerSize + key.Size + 1) + (headerSize + key.Size + 19); len(frames) != want {
		t.Errorf("the news are %d bytes, want %d", len(frames), want)
	}
	if len(n.appendTo(nil, batchBytes)) > 0 {
		t.Error("the news are told twice")
	}
}

func TestMeshKeyText(t *testing.T) {
	k := NewMeshKey()
	got, err := ParseMeshKey(" " + strings.ToUpper(k.Secret()) + "\n")
	if err != nil || got != k {
		t.Errorf("the key is read as %v, %v", got, err)
	}
	for _, text := range []string{"", "00", k.Secret() + "00", "x" + k.Secret()[1:]} {
		if _, err := ParseMeshKey(text); err == nil {
			t.Errorf("%q is a key", text)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		if text := fmt.Sprintf(verb, k); strings.Contains(text, k.Secret()[:8]) || text != k.String() {
			t.Errorf("%s prints %s", verb, text)
		}
	}
	if (MeshKey{}).is(strings.Repeat("0", 64)) || k.is("") || !k.is(k.Secret()) {
		t.Error("the wrong clients are trusted")
	}
}
