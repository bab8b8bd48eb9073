package meshtest_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/meshtest"
)

func TestConnectionsLiveThroughACut(t *testing.T) {
	t.Parallel()
	mesh, a, b := pair(t, meshtest.NAT(meshtest.EasyNAT), meshtest.NAT(meshtest.Firewall))
	conn := dial(t, a, b)
	mesh.WaitDirect(a, b)
	wantEcho(t, "at first", conn, 10_000)

	mesh.Cut(b)
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Write([]byte("while b is cut off")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
		t.Fatalf("b, which is cut off, answered with %d bytes, %v", n, err)
	}
	mesh.Heal(b)
	buf := make([]byte, len("while b is cut off"))
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Read(buf); err != nil {
		t.Fatalf("after the cut has healed: %v", err)
	}
	wantEcho(t, "after the cut has healed", conn, 10_000)
	mesh.WaitDirect(a, b)
}

func isTimeout(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}

func TestConnectionsLiveThroughMoves(t *testing.T) {
	t.Parallel()
	mesh := meshtest.New(t)
	home := mesh.Network(meshtest.EasyNAT)
	a, b := mesh.Node("a", meshtest.In(home)), mesh.Node("b", meshtest.NAT(meshtest.FullConeNAT))
	echo(t, b)
	conn := dial(t, a, b)
	wantEcho(t, "at home", conn, 10_000)
	mesh.WaitDirect(a, b) // by which b hears at once from where a is
	for _, kind := range []meshtest.Kind{meshtest.OpenInternet, meshtest.HardNAT, meshtest.EasyNAT} {
		mesh.Move(a, mesh.Network(kind))
		wantEcho(t, "moved to "+kind.String(), conn, 10_000)
		mesh.WaitDirect(a, b)
	}
	mesh.Move(a, home)
	mesh.WaitDirect(a, b)
	wantEcho(t, "at home again", conn, 10_000)
}

func TestConnectionsLiveThroughBlockedUDP(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the seconds that a path is trusted")
	}
	t.Parallel()
	mesh := meshtest.New(t)
	hotel := mesh.Network(meshtest.EasyNAT)
	a, b := mesh.Node("a", meshtest.In(hotel)), mesh.Node("b")
	echo(t, b)
	conn := dial(t, a, b)
	mesh.WaitDirect(a, b)
	wantEcho(t, "with UDP", conn, 10_000)
	hotel.BlockUDP(true)
	wantEcho(t, "without UDP", conn, 10_000)
	hotel.BlockUDP(false)
	mesh.WaitDirect(a, b)
	wantEcho(t, "with UDP again", conn, 10_000)
}

func TestConnectionsLiveThroughARestartOfTheRelay(t *testing.T) {
	t.Parallel()
	mesh, a, b := pair(t, meshtest.NAT(meshtest.HardNAT), meshtest.NAT(meshtest.HardNAT))
	conn := dial(t, a, b)
	wantEcho(t, "through the relay", conn, 10_000)
	for range 2 {
		mesh.StopRelays("here")
		mesh.StopRelays("here") // does no harm
		mesh.StartRelays("here")
		mesh.StartRelays()
		wantEcho(t, "through the next one", conn, 10_000)
	}
}

func TestNodesComeWhenTheCoordinatorDoes(t *testing.T) {
	t.Parallel()
	mesh := meshtest.New(t)
	a := mesh.Node("a")
	echo(t, a)
	mesh.StopCoordinator()
	mesh.StopCoordinator()
	late := mesh.Node("late", meshtest.NotStarted())
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := late.Up(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("without a coordinator, coming up ends with %v", err)
	}
	mesh.StartCoordinator()
	mesh.StartCoordinator()
	if _, err := late.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantReach(t, late, a)
}

func TestPolicyChanges(t *testing.T) {
	t.Parallel()
	mesh := meshtest.New(t)
	a, b := mesh.Node("a", meshtest.User("alice")), mesh.Node("b", meshtest.Tags("tag:b"))
	echo(t, b)
	wantReach(t, a, b)

	mesh.SetPolicy(`{"tagOwners": {"tag:b": []}, "grants": []}`)
	soon(t, "nobody reaches anybody", func() bool { return mesh.Path(a, b) == meshnet.Path{} })

	mesh.SetPolicy(`{"tagOwners": {"tag:b": []}, "grants": [{"src": ["alice@"], "dst": ["tag:b"], "ip": ["*"]}]}`)
	soon(t, "alice reaches b", func() bool { return mesh.Path(a, b) != meshnet.Path{} })
	wantReach(t, a, b)

	mesh.SetPolicy("")
	wantReach(t, a, b)
}

// soon waits until something is so.
func soon(t *testing.T, sentence string, is func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	enough := time.After(30 * time.Second)
	for !is() {
		select {
		case <-look.C:
		case <-enough:
			t.Fatalf("%s: not after half a minute", sentence)
		}
	}
}
