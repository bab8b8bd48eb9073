package meshnet

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"

	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// meet returns the two ends of a connection of the mesh, from visitor to host.
func meet(t *testing.T, network string, visitor, host *Server) (out, in net.Conn) {
	t.Helper()
	ln, err := host.Listen(network, ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	port := ln.Addr().(*net.TCPAddr).Port
	out, err = visitor.Dial(testCtx(t), network, net.JoinHostPort(host.Hostname, fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	in = <-accepted
	t.Cleanup(func() { out.Close(); in.Close() })
	return out, in
}

func wantPeer(t *testing.T, sentence string, c net.Conn, name string) {
	t.Helper()
	who, err := PeerOf(c)
	if err != nil || who.Node.Name != name {
		t.Errorf("%s: it is %+v, %v", sentence, who, err)
	}
}

func TestPeerOfKnowsBothEnds(t *testing.T) {
	m := newMesh(t, nil)
	web, visitor := m.up("web"), m.up("visitor")
	for _, network := range []string{"tcp4", "tcp6"} {
		out, in := meet(t, network, visitor, web)
		wantPeer(t, "who was dialed over "+network, out, "web.mesh.internal")
		wantPeer(t, "who calls over "+network, in, "visitor.mesh.internal")
		wantPeer(t, "who calls, through TLS", tls.Server(in, &tls.Config{}), "visitor.mesh.internal")
		if _, ok := in.(interface{ CloseWrite() error }); !ok {
			t.Error("the connection has no CloseWrite")
		}
	}
	udp, err := visitor.Dial(testCtx(t), "udp", "web:53")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	wantPeer(t, "who was dialed over UDP", udp, "web.mesh.internal")
	out, in := meet(t, "tcp", web, web)
	wantPeer(t, "who calls itself", out, "web.mesh.internal")
	wantPeer(t, "who is called by itself", in, "web.mesh.internal")
}

// endless wraps itself.
type endless struct{ net.Conn }

func (e endless) NetConn() net.Conn { return e }

func TestPeerOfOtherConnections(t *testing.T) {
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	for name, c := range map[string]net.Conn{
		"a pipe":                   one,
		"TLS over a pipe":          tls.Client(one, &tls.Config{}),
		"no connection":            nil,
		"a wrapper around nothing": tls.Client(nil, &tls.Config{}),
		"a wrapper without an end": endless{},
	} {
		if _, err := PeerOf(c); !errors.Is(err, ErrNotMesh) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPeerOfANodeThatHasGone gives the address of a node with which there is a
// connection to another node.
func TestPeerOfANodeThatHasGone(t *testing.T) {
	s := newScripted(t)
	a, b := s.up("a"), s.up("b")
	s.tell(a, b, nil)
	out, _ := meet(t, "tcp", b, a)
	s.tell(b, a, func(n *tailcfg.Node) { n.User = 7 })
	wantPeer(t, "the map has changed", out, "a.mesh.internal")
	heir := s.node(a)
	heir.ID, heir.StableID, heir.Name = 99, "n99", "heir.mesh.internal."
	s.push(b, &tailcfg.MapResponse{PeersRemoved: []tailcfg.NodeID{1}, PeersChanged: []*tailcfg.Node{heir}}, func(m *netmap.Map) bool {
		_, ok := m.ByID(99)
		return ok
	})
	if who, err := PeerOf(out); err == nil {
		t.Errorf("the one who has the address now: %+v", who)
	}
	b.Close()
	if who, err := PeerOf(out); err == nil {
		t.Errorf("after Close: %+v", who)
	}
}

func TestPeerOfRequest(t *testing.T) {
	m := newMesh(t, nil)
	web, visitor := m.up("web"), m.up("visitor")
	ln, err := web.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := PeerOfRequest(r)
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(w, who.Node.Name)
	})
	server := &http.Server{Handler: hello, ConnContext: ConnContext}
	go server.Serve(ln)
	defer server.Close()
	resp, err := visitor.HTTPClient().Get("http://web/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if name, err := io.ReadAll(resp.Body); err != nil || string(name) != "visitor.mesh.internal" {
		t.Errorf("the request is %q's, %v", name, err)
	}
	if _, err := PeerOfRequest(new(http.Request)); err == nil {
		t.Error("a request without a connection is somebody's")
	}
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	strange := new(http.Request).WithContext(ConnContext(context.Background(), pipe))
	if _, err := PeerOfRequest(strange); !errors.Is(err, ErrNotMesh) {
		t.Errorf("a request from elsewhere: %v", err)
	}
}

func TestCapabilitiesAreTyped(t *testing.T) {
	type grant struct{ Paths []string }
	who := &WhoIs{Capabilities: map[string][]json.RawMessage{
		"example.com/cap/edit":  {json.RawMessage(`{"paths":["/a"]}`), json.RawMessage(`{"paths":["/b","/c"],"new":1}`)},
		"example.com/cap/plain": {},
		"example.com/cap/other": {json.RawMessage(`{"paths":["/a"]}`), json.RawMessage(`"everything"`)},
	}}
	got, err := Capabilities[grant](who, "example.com/cap/edit")
	if err != nil || len(got) != 2 || !slices.Equal(got[1].Paths, []string{"/b", "/c"}) {
		t.Errorf("granted are %+v, %v", got, err)
	}
	for _, name := range []string{"example.com/cap/plain", "example.com/cap/nobody"} {
		if got, err := Capabilities[grant](who, name); err != nil || len(got) != 0 {
			t.Errorf("%s has the values %+v, %v", name, got, err)
		}
	}
	if got, err := Capabilities[grant](who, "example.com/cap/other"); err == nil || got != nil {
		t.Errorf("values that are no grants: %+v, %v", got, err)
	}
}
