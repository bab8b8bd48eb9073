package meshnet

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// paired makes a Server of a pair on the mesh's relay. The coordinator is not
// asked for anything.
func (m *mesh) paired(p *Pair) *Server {
	s := m.server(p.Token()[:12])
	s.ControlURL, s.AuthKey, s.Store, s.Pair = "", "", nil, p
	return s
}

func (m *mesh) relayRegion() *derpmap.Region { return m.cfg.DERPMap.Regions[900] }

func (m *mesh) pair() (host, guest *Server) {
	m.t.Helper()
	p, err := NewPair(m.relayRegion())
	if err != nil {
		m.t.Fatal(err)
	}
	q, err := ParsePair(" " + p.Token() + "\n")
	if err != nil {
		m.t.Fatal(err)
	}
	return m.paired(p), m.paired(q)
}

func TestPair(t *testing.T) {
	m := newMesh(t, nil)
	m.control.stop()
	host, guest := m.pair()
	for _, test := range []struct {
		name     string
		from, to *Server
	}{{"host", guest, host}, {"guest", host, guest}} {
		ln, err := test.to.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who, err := test.to.WhoIs(r.Context(), r.RemoteAddr)
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprintf(w, "hello, %s", who.Node.Name)
		})}
		go web.Serve(ln)
		defer web.Close()
		client := test.from.HTTPClient()
		defer client.CloseIdleConnections()
		resp, err := client.Get("http://" + test.name + "/")
		if err != nil {
			t.Fatal(err)
		}
		page, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := map[string]string{"host": "hello, guest.pair.internal", "guest": "hello, host.pair.internal"}[test.name]; string(page) != want {
			t.Errorf("%s says %q, want %q", test.name, page, want)
		}
	}
	eventually(t, "the path between them is direct", func() bool {
		return host.Status().Peers[0].Path.Direct.IsValid() && guest.Status().Peers[0].Path.Direct.IsValid()
	})
}

// A guest comes again, or one with the same token comes in its place.
func TestPairAgain(t *testing.T) {
	m := newMesh(t, nil)
	host, guest := m.pair()
	pc, err := host.ListenPacket("udp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		c, err := guest.Dial(testCtx(t), "udp", "host:7")
		if err != nil {
			t.Fatal(err)
		}
		said := make([]byte, 10)
		eventually(t, "the host hears the guest", func() bool {
			fmt.Fprint(c, "guest ", i)
			pc.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			n, _, err := pc.ReadFrom(said)
			return err == nil && string(said[:n]) == fmt.Sprint("guest ", i)
		})
		c.Close()
		guest.Close()
		again, err := ParsePair(host.Pair.Token())
		if err != nil {
			t.Fatal(err)
		}
		guest = m.paired(again)
	}
}

// Another pair on the same relay has nothing in common with this one.
func TestPairsAreApart(t *testing.T) {
	m := newMesh(t, nil)
	host, guest := m.pair()
	if k := host.Pair.presharedKey(); k.IsZero() || k != guest.Pair.presharedKey() {
		t.Error("host and guest have not the same preshared key")
	}
	other, _ := m.pair()
	if other.Pair.presharedKey() == host.Pair.presharedKey() || other.Pair.other() == host.Pair.other() {
		t.Error("another pair has the same secrets")
	}
}

func TestPairIsNotPrinted(t *testing.T) {
	m := newMesh(t, nil)
	host, _ := m.pair()
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %x", host.Pair, host.Pair, host.Pair, host.Pair, host.Pair), fmt.Sprintf("%+v", *host.Pair)} {
		secret := host.Pair.secret
		for _, shown := range []string{fmt.Sprint(secret[0], secret[1]), fmt.Sprintf("%x", secret[:2]), fmt.Sprintf("%#x, %#x", secret[0], secret[1])} {
			if strings.Contains(text, shown) {
				t.Errorf("a pair prints its secret: %s", text)
			}
		}
	}
}

// One that wants its own preshared keys gets along with one that does not.
func TestPairPostQuantum(t *testing.T) {
	m := newMesh(t, nil)
	for _, both := range []bool{false, true} {
		host, guest := m.pair()
		host.PostQuantum, guest.PostQuantum = true, both
		ln, err := host.Listen("tcp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		conn, err := guest.Dial(testCtx(t), "tcp", "host:7")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		ln.Close()
		if got := host.Status().Peers[0].PostQuantum; got != both {
			t.Errorf("with PostQuantum on both sides %v: there is a key %v", both, got)
		}
		guest.Close()
		host.Close()
	}
}

func TestPairFields(t *testing.T) {
	m := newMesh(t, nil)
	for name, change := range map[string]func(*Server){
		"ControlURL":    func(s *Server) { s.ControlURL = "https://mesh.test" },
		"AuthKey":       func(s *Server) { s.AuthKey = "key" },
		"AdvertiseTags": func(s *Server) { s.AdvertiseTags = []string{"tag:a"} },
		"routes":        func(s *Server) { s.AcceptRoutes = true },
	} {
		host, _ := m.pair()
		change(host)
		if err := host.Start(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("with %s: %v, want an error that names it", name, err)
		}
	}
}

func TestNewPairNeedsARelay(t *testing.T) {
	five := &derpmap.Region{RegionID: 1}
	for range 5 {
		five.Nodes = append(five.Nodes, &derpmap.Node{HostName: "relay.test"})
	}
	for name, region := range map[string]*derpmap.Region{
		"none":      nil,
		"empty":     {RegionID: 1},
		"STUN only": {RegionID: 1, Nodes: []*derpmap.Node{{HostName: "stun.test", STUNOnly: true}, nil}},
		"no host":   {RegionID: 1, Nodes: []*derpmap.Node{{}}},
		"port":      {RegionID: 1, Nodes: []*derpmap.Node{{HostName: "relay.test", DERPPort: 1 << 16}}},
		"ID":        {RegionID: -1, Nodes: []*derpmap.Node{{HostName: "relay.test"}}},
		"five":      five,
	} {
		if _, err := NewPair(region); err == nil {
			t.Errorf("%s: there is a pair", name)
		}
	}
}

func TestDamagedTokens(t *testing.T) {
	p, err := NewPair(&derpmap.Region{RegionID: 7, RegionCode: "fra", Nodes: []*derpmap.Node{{HostName: "relay.test", STUNPort: -1}}})
	if err != nil {
		t.Fatal(err)
	}
	token := p.Token()
	if len(token) > 200 {
		t.Errorf("the token has %d characters", len(token))
	}
	got, err := ParsePair(token)
	if err != nil || got.Token() != token || got.isHost() {
		t.Fatalf("the token is read as %v, %v", got, err)
	}
	for i := range token {
		changed := token[:i] + string(token[i]^1) + token[i+1:]
		if _, err := ParsePair(changed); err == nil {
			t.Errorf("a changed character %d is not noticed", i)
		}
		if _, err := ParsePair(token[:i]); err == nil {
			t.Errorf("that characters are missing from %d on is not noticed", i)
		}
	}
	if _, err := ParsePair(token + strings.Repeat("A", maxToken)); err == nil {
		t.Error("a token that is too long is read")
	}
}

func FuzzParsePair(f *testing.F) {
	p, err := NewPair(&derpmap.Region{RegionID: 7, Nodes: []*derpmap.Node{{HostName: "relay.test"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Token())
	f.Add(tokenPrefix + base64.RawURLEncoding.EncodeToString(make([]byte, 100)))
	f.Fuzz(func(t *testing.T, token string) {
		p, err := ParsePair(token)
		if err != nil {
			return
		}
		again, err := ParsePair(p.Token())
		if err != nil || again.Token() != p.Token() {
			t.Errorf("%q is read again as %v, %v", token, again, err)
		}
	})
}

// A guest whose host is not there says so when the caller's patience ends.
func TestPairWithoutHost(t *testing.T) {
	m := newMesh(t, nil)
	_, guest := m.pair()
	ctx, cancel := context.WithCancel(testCtx(t))
	if _, err := guest.Up(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if c, err := guest.Dial(ctx, "tcp", "host:80"); !errors.Is(err, context.Canceled) {
		t.Errorf("dialing gives %v, %v", c, err)
	}
}

func TestAPairHasNoCoordinator(t *testing.T) {
	m := newMesh(t, nil)
	host, _ := m.pair()
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	for call, err := range map[string]error{"Logout": host.Logout(testCtx(t)), "Reauth": host.Reauth(testCtx(t))} {
		if err == nil || !strings.Contains(err.Error(), "no coordinator") {
			t.Errorf("%s: %v", call, err)
		}
	}
}
