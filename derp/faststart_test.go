package derp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/meshnet-go/meshnet/key"
)

func TestMetaCert(t *testing.T) {
	relay := key.NewNode().Public()
	meta, err := x509.ParseCertificate(metaCert(relay))
	if err != nil {
		t.Fatal(err)
	}
	if meta.Subject.CommonName != "derpkey"+relay.Hex() || meta.SerialNumber.Int64() != 2 {
		t.Errorf("the certificate says %q, version %v", meta.Subject.CommonName, meta.SerialNumber)
	}
	own, _, _ := SelfSigned("relay.test")
	leaf, _ := x509.ParseCertificate(own.Certificate[0])
	for name, test := range map[string]struct {
		state tls.ConnectionState
		ok    bool
	}{
		"behind the relay's":   {tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{leaf, meta}}, true},
		"in clear":             {tls.ConnectionState{Version: tls.VersionTLS12, PeerCertificates: []*x509.Certificate{leaf, meta}}, false},
		"not there":            {tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{leaf}}, false},
		"of the zero key":      {withMeta(t, key.NodePublic{}), false},
		"no certificate there": {tls.ConnectionState{Version: tls.VersionTLS13}, false},
	} {
		got, ok := parseMetaCert(test.state)
		if ok != test.ok || ok && got != relay {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
}

func withMeta(t *testing.T, relay key.NodePublic) tls.ConnectionState {
	t.Helper()
	meta, err := x509.ParseCertificate(metaCert(relay))
	if err != nil {
		t.Fatal(err)
	}
	return tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{meta}}
}

func TestTLSConfig(t *testing.T) {
	s := NewServer(ServerConfig{})
	own, _, _ := SelfSigned("relay.test")
	base := &tls.Config{Certificates: []tls.Certificate{own}, NextProtos: []string{"h2", "http/1.1", "acme-tls/1"}}
	cfg := s.TLSConfig(base)
	if got := strings.Join(cfg.NextProtos, " "); got != "http/1.1 acme-tls/1" {
		t.Errorf("it speaks %q", got)
	}
	cert, err := cfg.GetCertificate(&tls.ClientHelloInfo{ServerName: "relay.test"})
	if err != nil || len(cert.Certificate) != 2 || len(base.Certificates[0].Certificate) != 1 {
		t.Errorf("certificates: %v, %v", cert, err)
	}
	cfg = s.TLSConfig(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &own, nil }})
	if cert, err := cfg.GetCertificate(&tls.ClientHelloInfo{}); err != nil || len(cert.Certificate) != 2 {
		t.Errorf("certificates of a function: %v, %v", cert, err)
	}
	if cert, err := cfg.GetCertificate(&tls.ClientHelloInfo{SupportedProtos: []string{acmeProtocol}}); err != nil || len(cert.Certificate) != 1 {
		t.Errorf("certificates for an authority: %v, %v", cert, err)
	}
	if _, err := s.TLSConfig(&tls.Config{}).GetCertificate(&tls.ClientHelloInfo{}); err == nil {
		t.Error("a relay without a certificate has one")
	}
}

// flights counts how often a client answers: each answer that it must wait for
// takes a round trip.
type flights struct {
	net.Conn
	n    int
	read bool // since the last write
}

func (f *flights) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	f.read = true
	return n, err
}

func (f *flights) Write(p []byte) (int, error) {
	if f.read {
		f.n++
	}
	f.read = false
	return f.Conn.Write(p)
}

func TestFastStartSavesARoundTrip(t *testing.T) {
	for name, test := range map[string]struct {
		says bool
		want int
	}{
		"the certificate says the key": {true, 1},  // the end of the TLS handshake goes with all else
		"it does not":                  {false, 2}, // the login waits for the answer to the upgrade
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRelay(t, ServerConfig{})
				if !test.says {
					r.meta = nil
				}
				var counted *flights
				cfg := r.dialConfig(key.NewNode())
				cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					nc, err := r.listener.dial(ctx, network, addr)
					counted = &flights{Conn: nc}
					return counted, err
				}
				c, err := Dial(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if counted.n != test.want {
					t.Errorf("the client has answered %d times, want %d", counted.n, test.want)
				}
			})
		})
	}
}

// Whoever stands between us and the relay and has its certificate may still
// answer in HTTP, or be another relay by now.
func TestFastStartThatFails(t *testing.T) {
	said, other := key.NewNode().Public(), key.NewNode()
	for name, test := range map[string]struct{ answer, want string }{
		"refusal":       {"HTTP/1.1 503 Service Unavailable\r\n\r\n", "503"},
		"endless":       {"HTTP/1.1 " + strings.Repeat("x", clientBuffer), "buffer full"},
		"another key":   {string(frame(frameServerKey, magic+string(other.Public().AppendRaw(nil)))), "another key"},
		"another frame": {string(frame(FrameKeepAlive, "")), "instead of"},
		"nothing":       {"", "read the relay's key"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				defer here.Close()
				go func() {
					there.Read(make([]byte, 4096))
					there.Write([]byte(test.answer))
					there.Close()
				}()
				st := newStream(here, here)
				st.said = said
				_, err := newClient(st, key.NewNode(), MeshKey{})
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("log in: %v, want something with %q", err, test.want)
				}
			})
		})
	}
}
