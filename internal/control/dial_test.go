package control

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

// say is a server that reads a request's first bytes and answers with text.
func say(text string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			far.Read(make([]byte, 4096))
			io.WriteString(far, text)
		}()
		return near, nil
	}
}

func TestUpgradeFails(t *testing.T) {
	const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "
	for _, tt := range []struct{ name, answer, want string }{
		{"nothing", "", "unexpected EOF"},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n", "malformed HTTP"},
		{"refused", "HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\nno!\x1b\n", `400 Bad Request: "no!\x1b"`},
		{"endless refusal", "HTTP/1.1 500 X\r\n\r\n" + strings.Repeat("x", 1<<20), "500 Internal"},
		{"endless header", "HTTP/1.1 101 X\r\nX: " + strings.Repeat("x", 1<<20), "unexpected EOF"},
		{"another protocol", switching + "websocket\r\nConnection: upgrade\r\n\r\n", `the answer is "websocket"`},
		{"no Noise", switching + upgradeProtocol + "\r\nConnection: upgrade\r\n\r\nHello, who are you?", "unexpected message of type 72"},
		{"a Noise error", switching + upgradeProtocol + "\r\nConnection: upgrade\r\n\r\n\x03\x00\x02no", `the server refuses it: "no"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := newCoordinator(t).sessionConfig().Config
				cfg.Dial = say(tt.answer)
				_, err := cfg.connect(t.Context())
				if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 2000 {
					t.Errorf("%v, want %q", err, tt.want)
				}
			})
		})
	}
}

func TestWhereToDial(t *testing.T) {
	for url, want := range map[string]string{
		"https://a.example":         "a.example:443",
		"https://a.example/":        "a.example:443",
		"https://a.example:8443":    "a.example:8443",
		"http://a.example":          "a.example:80",
		"http://[2001:db8::1]:8080": "[2001:db8::1]:8080",
		"http://[2001:db8::1]":      "[2001:db8::1]:80",
	} {
		cfg := Config{URL: url}
		if _, addr, err := cfg.endpoint(); addr != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", url, addr, err, want)
		}
	}
}

// TestTLS is about a coordinator with a certificate that nobody vouches for. It
// is not believed when it names its key; but when the key is known, it may show
// what certificate it likes.
func TestTLS(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	certified.Close()
	synctest.Test(t, func(t *testing.T) {
		c := newCoordinator(t)
		c.tls = certified.TLS
		cfg := c.sessionConfig()
		cfg.URL = "https://example.com:8080"
		if _, err := FetchServerKey(t.Context(), cfg.Config); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("the key over an unknown certificate: %v", err)
		}
		s := Start(cfg)
		joined(t, c, s)
		s.Close()

		cfg.RootCAs = x509.NewCertPool()
		cfg.RootCAs.AddCert(certified.Certificate())
		if got, err := FetchServerKey(t.Context(), cfg.Config); got != c.key.Public() {
			t.Errorf("the key is %v, %v", got, err)
		}
		time.Sleep(time.Minute) // net/http's farewells over a pipe that nobody reads
	})
}

func TestFetchServerKeyFails(t *testing.T) {
	page := func(body string) string {
		return "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body
	}
	for _, tt := range []struct{ name, answer, want string }{
		{"nothing", "", "EOF"},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n", "malformed HTTP"},
		{"not there", "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nno!\x1b\n", `404 Not Found: "no!\x1b"`},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: https://b.example/key\r\nContent-Length: 0\r\n\r\n", `sends us to "https://b.example/key"`},
		{"empty", page(""), "makes no sense"},
		{"a page", page("<html>"), "makes no sense"},
		{"a key of another kind", page(`{"publicKey":"` + testNode.String() + `"}`), "makes no sense"},
		{"no key", page(`{}`), "it has no key"},
		{"a zero key", page(`{"publicKey":"` + key.MachinePublic{}.String() + `"}`), "it has no key"},
		{"endless", page(`{"x":"` + strings.Repeat("x", 1<<20)), "makes no sense"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := FetchServerKey(t.Context(), Config{URL: "http://a.example", Dial: say(tt.answer)})
				if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 2000 {
					t.Errorf("%v, want %q", err, tt.want)
				}
			})
		})
	}
}

func TestFetchServerKeyDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := FetchServerKey(t.Context(), Config{URL: "http://a.example", Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if err == nil {
			t.Error("it succeeds")
		}
	})
}
