package derp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

func TestTargets(t *testing.T) {
	tests := []struct {
		name string
		node derpmap.Node
		want []target
	}{
		{"a name", derpmap.Node{HostName: "r.test"}, []target{{"tcp", "r.test"}}},
		{"an address", derpmap.Node{HostName: "192.0.2.1"}, []target{{"tcp", "192.0.2.1"}}},
		{"both families given", derpmap.Node{HostName: "r.test", IPv4: "192.0.2.1", IPv6: "2001:db8::1"},
			[]target{{"tcp6", "2001:db8::1"}, {"tcp4", "192.0.2.1"}}},
		{"one given, the other looked up later", derpmap.Node{HostName: "r.test", IPv4: "192.0.2.1"},
			[]target{{"tcp4", "192.0.2.1"}, {"tcp6", "r.test"}}},
		{"the host is an address of the given family", derpmap.Node{HostName: "192.0.2.1", IPv4: "192.0.2.1"},
			[]target{{"tcp4", "192.0.2.1"}}},
		{"no IPv6", derpmap.Node{HostName: "r.test", IPv4: "192.0.2.1", IPv6: "none"}, []target{{"tcp4", "192.0.2.1"}}},
		{"no IPv4, the rest looked up", derpmap.Node{HostName: "r.test", IPv4: "none"}, []target{{"tcp6", "r.test"}}},
		{"nothing", derpmap.Node{HostName: "r.test", IPv4: "none", IPv6: "none"}, nil},
		{"the wrong family", derpmap.Node{HostName: "r.test", IPv4: "2001:db8::1", IPv6: "none"}, nil},
	}
	for _, test := range tests {
		if got := (&attempt{node: &test.node}).targets(); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// network makes connections by host, and writes down when to whom.
type network struct {
	start time.Time
	hosts map[string]func(context.Context) (net.Conn, error)

	mu    sync.Mutex
	dials []string
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	n.mu.Lock()
	n.dials = append(n.dials, addr+" after "+time.Since(n.start).String())
	n.mu.Unlock()
	return n.hosts[host](ctx)
}

func (n *network) dialed() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.dials)
}

func hangs(ctx context.Context) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func refuses(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") }

// isSilent accepts a connection and says nothing.
func isSilent(t *testing.T) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		here, there := net.Pipe()
		t.Cleanup(func() { there.Close() })
		go io.Copy(io.Discard, there)
		return here, nil
	}
}

func TestDialOrder(t *testing.T) {
	type hosts = map[string]func(context.Context) (net.Conn, error)
	tests := []struct {
		name  string
		nodes []derpmap.Node
		hosts func(t *testing.T, works func(context.Context) (net.Conn, error)) hosts
		dials []string
		fails time.Duration // when it does
	}{
		{"the first that works", []derpmap.Node{{HostName: "stun", STUNOnly: true}, {HostName: "a"}, {HostName: "b"}},
			func(_ *testing.T, works func(context.Context) (net.Conn, error)) hosts {
				return hosts{"a": works, "b": works}
			},
			[]string{"a:443 after 0s"}, 0},
		{"the second when the first refuses", []derpmap.Node{{HostName: "a", DERPPort: 8443}, {HostName: "b"}},
			func(_ *testing.T, works func(context.Context) (net.Conn, error)) hosts {
				return hosts{"a": refuses, "b": works}
			},
			[]string{"a:8443 after 0s", "b:443 after 0s"}, 0},
		{"the second when the first does not accept", []derpmap.Node{{HostName: "a"}, {HostName: "b"}},
			func(_ *testing.T, works func(context.Context) (net.Conn, error)) hosts {
				return hosts{"a": hangs, "b": works}
			},
			[]string{"a:443 after 0s", "b:443 after 1.5s"}, 0},
		{"the second when the first accepts and is silent", []derpmap.Node{{HostName: "a"}, {HostName: "b"}},
			func(t *testing.T, works func(context.Context) (net.Conn, error)) hosts {
				return hosts{"a": isSilent(t), "b": works}
			},
			[]string{"a:443 after 0s", "b:443 after 5s"}, 0},
		{"ten seconds for a relay that is silent", []derpmap.Node{{HostName: "a"}},
			func(t *testing.T, _ func(context.Context) (net.Conn, error)) hosts { return hosts{"a": isSilent(t)} },
			[]string{"a:443 after 0s"}, 10 * time.Second},
		{"ten seconds for one that does not accept", []derpmap.Node{{HostName: "a"}},
			func(*testing.T, func(context.Context) (net.Conn, error)) hosts { return hosts{"a": hangs} },
			[]string{"a:443 after 0s"}, 10 * time.Second},
		{"IPv4 when IPv6 takes long", []derpmap.Node{{HostName: "a", IPv4: "192.0.2.1", IPv6: "2001:db8::1"}},
			func(_ *testing.T, works func(context.Context) (net.Conn, error)) hosts {
				return hosts{"2001:db8::1": hangs, "192.0.2.1": works}
			},
			[]string{"[2001:db8::1]:443 after 0s", "192.0.2.1:443 after 200ms"}, 0},
		{"IPv4 at once when there is no IPv6", []derpmap.Node{{HostName: "a", IPv4: "192.0.2.1", IPv6: "2001:db8::1"}},
			func(_ *testing.T, works func(context.Context) (net.Conn, error)) hosts {
				return hosts{"2001:db8::1": refuses, "192.0.2.1": works}
			},
			[]string{"[2001:db8::1]:443 after 0s", "192.0.2.1:443 after 0s"}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRelay(t, ServerConfig{})
				works := func(ctx context.Context) (net.Conn, error) { return r.listener.dial(ctx, "", "") }
				n := &network{start: time.Now(), hosts: test.hosts(t, works)}
				region := &derpmap.Region{RegionID: 1, Nodes: []*derpmap.Node{nil}}
				for _, node := range test.nodes {
					node.InsecureForTests = true
					region.Nodes = append(region.Nodes, &node)
				}
				c, err := Dial(t.Context(), DialConfig{Key: key.NewNode(), Region: region, DialContext: n.dial})
				if dials := n.dialed(); !slices.Equal(dials, test.dials) {
					t.Errorf("dialed %q, want %q", dials, test.dials)
				}
				if test.fails == 0 {
					if err != nil {
						t.Fatalf("Dial: %v", err)
					}
					c.Close()
				} else if took := time.Since(n.start); err == nil || took != test.fails {
					t.Errorf("Dial ended after %v with %v", took, err)
				}
			})
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, host := range map[string]func(context.Context) (net.Conn, error){"silent": isSilent(t), "hanging": hangs} {
			n := &network{start: time.Now(), hosts: map[string]func(context.Context) (net.Conn, error){"a": host}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := Dial(ctx, DialConfig{
				Key:         key.NewNode(),
				Region:      &derpmap.Region{Nodes: []*derpmap.Node{{HostName: "a"}}},
				DialContext: n.dial,
			})
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(n.start) != time.Second {
				t.Errorf("%s: Dial ended after %v with %v", name, time.Since(n.start), err)
			}
		}
	})
}

// TestDialLeavesNothingBehind has a dialer that takes its time to give up when
// another address has won.
func TestDialLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		var ended atomic.Bool
		n := &network{start: time.Now(), hosts: map[string]func(context.Context) (net.Conn, error){
			"2001:db8::1": func(ctx context.Context) (net.Conn, error) {
				<-ctx.Done()
				<-time.After(time.Second)
				ended.Store(true)
				return nil, ctx.Err()
			},
			"192.0.2.1": func(ctx context.Context) (net.Conn, error) { return r.listener.dial(ctx, "", "") },
		}}
		node := &derpmap.Node{HostName: "a", IPv4: "192.0.2.1", IPv6: "2001:db8::1", InsecureForTests: true}
		region := &derpmap.Region{Nodes: []*derpmap.Node{node}}
		c, err := Dial(t.Context(), DialConfig{Key: key.NewNode(), Region: region, DialContext: n.dial})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if !ended.Load() {
			t.Error("Dial returns while DialContext still runs")
		}
	})
}

func TestDialNeeds(t *testing.T) {
	for name, cfg := range map[string]DialConfig{
		"nothing":   {},
		"a key":     {Region: &derpmap.Region{}},
		"a region":  {Key: key.NewNode()},
		"any relay": {Key: key.NewNode(), Region: &derpmap.Region{Nodes: []*derpmap.Node{{STUNOnly: true}}}},
	} {
		if _, err := Dial(t.Context(), cfg); err == nil {
			t.Errorf("Dial without %s succeeds", name)
		}
	}
}

// authority signs a certificate for names.
func authority(t *testing.T, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now, NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: now, NotAfter: now.Add(time.Hour), DNSNames: names}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, priv.Public(), priv)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, priv.Public(), priv)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	parsed, _ := x509.ParseCertificate(caDER)
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: priv}, roots
}

func TestCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signed, roots := authority(t, "r.test", "192-0-2-1.test")
		own, pin, err := SelfSigned("r.test")
		if err != nil {
			t.Fatal(err)
		}
		_, otherPin, _ := SelfSigned("r.test")
		ownIP, pinIP, _ := SelfSigned("2001:db8::1")

		for name, test := range map[string]struct {
			cert  tls.Certificate
			node  derpmap.Node
			roots *x509.CertPool
			ok    bool
		}{
			"signed for the host":       {signed, derpmap.Node{HostName: "r.test"}, roots, true},
			"signed for another":        {signed, derpmap.Node{HostName: "x.test"}, roots, false},
			"signed for CertName":       {signed, derpmap.Node{HostName: "x.test", CertName: "r.test"}, roots, true},
			"not signed for CertName":   {signed, derpmap.Node{HostName: "r.test", CertName: "x.test"}, roots, false},
			"CertName, wrong authority": {own, derpmap.Node{HostName: "x.test", CertName: "r.test"}, roots, false},
			"self-signed":               {own, derpmap.Node{HostName: "r.test"}, roots, false},
			"pinned":                    {own, derpmap.Node{HostName: "r.test", CertName: pin}, nil, true},
			"pinned, in capitals":       {own, derpmap.Node{HostName: "r.test", CertName: pinPrefix + strings.ToUpper(pin[len(pinPrefix):])}, nil, true},
			"pinned by address":         {ownIP, derpmap.Node{HostName: "2001:db8::1", CertName: pinIP}, nil, true},
			"another one pinned":        {own, derpmap.Node{HostName: "r.test", CertName: otherPin}, nil, false},
			"pinned with nonsense":      {own, derpmap.Node{HostName: "r.test", CertName: pinPrefix + "beef"}, nil, false},
			"a pin is checked always":   {own, derpmap.Node{HostName: "r.test", CertName: otherPin, InsecureForTests: true}, nil, false},
			"not checked":               {own, derpmap.Node{HostName: "x.test", InsecureForTests: true}, nil, true},
		} {
			here, there := net.Pipe()
			// A client that is not content says so while the server still
			// writes: on a pipe without a buffer both would wait.
			here.SetDeadline(time.Now().Add(time.Second))
			there.SetDeadline(time.Now().Add(time.Second))
			server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{test.cert}, SessionTicketsDisabled: true})
			go server.Handshake()
			err := tls.Client(here, tlsConfig(&test.node, test.roots)).Handshake()
			if (err == nil) != test.ok {
				t.Errorf("%s: %v", name, err)
			}
			here.Close()
			there.Close()
		}
	})
}

// A web server that is not a relay is an error that says so, and not one that
// fills our memory.
func TestDialWhatIsNoRelay(t *testing.T) {
	for name, test := range map[string]struct{ reply, want string }{
		"refusal":         {"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\ngo away", "go away"},
		"endless headers": {"HTTP/1.1 101 Switching Protocols\r\n" + strings.Repeat("X: y\r\n", maxUpgradeReply), "EOF"},
		"not HTTP":        {"220 mail.test ESMTP\r\n", "malformed"},
		"nothing":         {"", "answer to the upgrade"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cert, certName, err := SelfSigned("a")
				if err != nil {
					t.Fatal(err)
				}
				_, err = Dial(t.Context(), DialConfig{
					Key:    key.NewNode(),
					Region: &derpmap.Region{Nodes: []*derpmap.Node{{HostName: "a", CertName: certName}}},
					DialContext: func(context.Context, string, string) (net.Conn, error) {
						here, there := net.Pipe()
						server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
						go func() {
							server.Read(make([]byte, 4096))
							io.WriteString(server, test.reply)
							there.Close()
						}()
						return here, nil
					},
				})
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("Dial: %v, want something with %q", err, test.want)
				}
			})
		})
	}
}
