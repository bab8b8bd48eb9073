package meshnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
)

// pair returns both ends of a connection from a to b.
func pair(t testing.TB, a *Server, ln net.Listener, address string) (dialled, accepted net.Conn) {
	t.Helper()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, 1)
	go func() {
		conn, err := ln.Accept()
		results <- result{conn, err}
	}()
	dialled, err := a.Dial(testCtx(t), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r := <-results
	if r.err != nil {
		t.Fatal(r.err)
	}
	return dialled, r.conn
}

// echo answers everything on port 7 of s with itself until s is closed.
func echo(t testing.TB, s *Server, network string) {
	t.Helper()
	if network == "udp" {
		pc, err := s.ListenPacket("udp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			buf := make([]byte, 2000)
			for {
				n, from, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				pc.WriteTo(buf[:n], from)
			}
		}()
		return
	}
	ln, err := s.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
}

func TestBulkAndHalfClose(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	ln, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	there := make([]byte, 16<<20)
	rand.NewChaCha8([32]byte{1}).Read(there)
	dialled, accepted := pair(t, a, ln, "b:80")
	defer dialled.Close()

	sums := make(chan [32]byte, 1)
	go func() {
		defer accepted.Close()
		got, err := io.ReadAll(accepted) // ends with the other side's CloseWrite
		if err != nil {
			t.Error(err)
		}
		sums <- sha256.Sum256(got)
		accepted.Write(got) // which has left this direction open
	}()
	if _, err := dialled.Write(there); err != nil {
		t.Fatal(err)
	}
	if err := dialled.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(dialled)
	if err != nil || !bytes.Equal(back, there) {
		t.Errorf("%d bytes came back of %d: %v", len(back), len(there), err)
	}
	if <-sums != sha256.Sum256(there) {
		t.Error("the bytes changed on the way")
	}
}

// Loopback carries packets of 64 KiB: two meshnet nodes find that out and send
// as much at once.
func TestLargePackets(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	udp, err := b.ListenPacket("udp", ":9")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	conn, err := a.Dial(testCtx(t), "udp", "b:9")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	toB := func() Path {
		conn.Write([]byte("in use")) // or nobody asks how large a packet may be
		peers := a.Status().Peers
		return peers[slices.IndexFunc(peers, b.is)].Path
	}
	const large = 60000
	eventually(t, "packets to b may be large", func() bool { return toB().MTU > large })
	sent := bytes.Repeat([]byte("large"), large/5)
	for buf := make([]byte, 1<<16); ; {
		if _, err := conn.Write(sent); err != nil {
			t.Fatal(err)
		}
		n, _, err := udp.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(buf[:n], sent) {
			return
		}
	}
}

func TestStatus(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	echo(t, b, "tcp")
	conn, err := a.Dial(testCtx(t), "tcp", "b:7")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	toB := func() PeerStatus {
		peers := a.Status().Peers
		return peers[slices.IndexFunc(peers, b.is)]
	}
	eventually(t, "b is reached directly", func() bool { return toB().Path.Relay == "" })
	status := a.Status()
	if status.State != StateRunning || status.Err != nil || status.Self.Name != "a.mesh.internal" {
		t.Errorf("the status is %+v", status)
	}
	p := toB()
	if p.Name != "b.mesh.internal" || !p.Path.Direct.Addr().IsLoopback() || p.Path.Relay != "" || p.BytesSent == 0 || p.BytesReceived == 0 || p.LastHandshake.IsZero() || !p.Online {
		t.Errorf("b is %+v", p)
	}
}

// Where UDP cannot be had the mesh is reached through relays.
func TestWithoutUDP(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.server("a"), m.up("b")
	a.Underlay.ListenPacket = func(context.Context, string, string) (net.PacketConn, error) {
		return nil, errors.New("no UDP here")
	}
	echo(t, b, "tcp")
	conn, err := a.Dial(testCtx(t), "tcp", "b:7")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range []*Server{a, b} {
		if path := s.Status().Peers[0].Path; path.Relay != "test" {
			t.Errorf("%s reaches the other by %v", s.Hostname, path)
		}
	}
}

// TestRestarts stops the coordinator and the relay under an open connection.
func TestRestarts(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	echo(t, b, "tcp")
	conn, err := a.Dial(testCtx(t), "tcp", "b:7")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	again := func(when string) {
		t.Helper()
		deadline, _ := testCtx(t).Deadline()
		conn.SetDeadline(deadline)
		got := make([]byte, len(when))
		if _, err := io.WriteString(conn, when); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != when {
			t.Fatalf("%s: the echo is %q, %v", when, got, err)
		}
	}
	again("before all")

	m.control.stop()
	again("while the coordinator is away")
	m.startCoord()
	c := m.up("c") // is seen by a once a is back at the coordinator
	if _, err := a.running().view.wait(testCtx(t), func(v view) (bool, error) {
		_, ok := v.netMap.ByKey(c.Status().Self.Key)
		return ok, nil
	}); err != nil {
		t.Fatal("a does not come back to the coordinator: ", err)
	}
	again("after the coordinator's restart")

	m.relay.stop()
	m.startRelay()
	again("after the relay's restart")
}
