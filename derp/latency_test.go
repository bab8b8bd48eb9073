package derp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// far is a connection over which everything that is written takes a while.
type far struct {
	net.Conn
	takes time.Duration
}

func (f far) Write(b []byte) (int, error) {
	<-time.After(f.takes)
	return f.Conn.Write(b)
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		dial := func(connecting, takes time.Duration) func(context.Context) (net.Conn, error) {
			return func(ctx context.Context) (net.Conn, error) {
				<-time.After(connecting)
				nc, err := r.listener.dial(ctx, "", "")
				return far{nc, takes}, err
			}
		}
		n := &network{start: time.Now(), hosts: map[string]func(context.Context) (net.Conn, error){
			"near":    dial(0, 5*time.Millisecond),
			"far":     dial(700*time.Millisecond, 200*time.Millisecond),
			"refuses": refuses,
			"hangs":   hangs,
		}}
		for _, tt := range []struct {
			name  string
			hosts []string
			want  time.Duration
		}{
			{"one", []string{"near"}, 5 * time.Millisecond},
			{"the time for connecting does not count", []string{"far"}, 200 * time.Millisecond},
			{"the first that answers", []string{"refuses", "hangs", "near", "far"}, 5 * time.Millisecond},
		} {
			region := &derpmap.Region{RegionID: 1, Nodes: []*derpmap.Node{nil, {HostName: "stun", STUNOnly: true}}}
			for _, host := range tt.hosts {
				region.Nodes = append(region.Nodes, &derpmap.Node{HostName: host, CertName: r.node.CertName})
			}
			got, err := Latency(t.Context(), DialConfig{Region: region, DialContext: n.dial})
			if err != nil || got != tt.want {
				t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
			}
			synctest.Wait()
		}
	})
}

// TestLatencyLeavesTheRelayAsItWas measures often, and logs in all the same.
func TestLatencyLeavesTheRelayAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		cfg := r.dialConfig(key.NewNode())
		for range 100 {
			if _, err := Latency(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

// TestLatencyOfWhatIsNoRelay has web servers that answer with something else,
// or not at all.
func TestLatencyOfWhatIsNoRelay(t *testing.T) {
	cert, certName, err := SelfSigned("a")
	if err != nil {
		t.Fatal(err)
	}
	_, otherPin, err := SelfSigned("a")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ certName, reply, want string }{
		"a portal's redirection": {certName, "HTTP/1.1 302 Found\r\nLocation: http://portal.test/\r\n\r\n", "302 Found"},
		"a page that is missing": {certName, "HTTP/1.1 404 Not Found\r\n\r\n", "404"},
		"not yet":                {certName, "HTTP/1.1 100 Continue\r\n\r\n", "100"},
		"endless headers":        {certName, "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", maxUpgradeReply), "header"},
		"not HTTP":               {certName, "220 mail.test ESMTP\r\n", "malformed"},
		"nothing":                {certName, "", "EOF"},
		"silence":                {certName, "silence", "deadline"},
		"another's certificate":  {otherPin, "", "certificate"},
		"nothing that is listed": {"", "", "no relay"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				region := &derpmap.Region{}
				if tt.certName != "" {
					region.Nodes = []*derpmap.Node{{HostName: "a", CertName: tt.certName}}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				took, err := Latency(ctx, DialConfig{Region: region, DialContext: func(context.Context, string, string) (net.Conn, error) {
					here, there := net.Pipe()
					server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
					go func() {
						defer there.Close()
						_, err := server.Read(make([]byte, 4096))
						if err == nil && tt.reply == "silence" {
							io.Copy(io.Discard, there)
						}
						io.WriteString(server, tt.reply)
					}()
					return here, nil
				}})
				if err == nil || took != 0 || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Latency: %v, %v, want something with %q", took, err, tt.want)
				}
			})
		})
	}
	if _, err := Latency(t.Context(), DialConfig{}); err == nil {
		t.Error("Latency without a region succeeds")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := DialConfig{Region: &derpmap.Region{Nodes: []*derpmap.Node{{HostName: "a"}}}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return nil, ctx.Err() }}
	if _, err := Latency(ended, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("Latency in a context that has ended: %v", err)
	}
}
