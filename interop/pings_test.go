package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	tstailcfg "tailscale.com/tailcfg"
)

// A real peer pings a meshnet node at every layer.
func TestPingsOfTsnetAreAnswered(t *testing.T) {
	s := newScripted(t)
	for _, kind := range []tstailcfg.PingType{tstailcfg.PingDisco, tstailcfg.PingTSMP, tstailcfg.PingICMP} {
		t.Run(string(kind), func(t *testing.T) {
			eventually(t, fmt.Sprintf("mesh1 answers a %s ping", kind), func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				return s.ping(ctx, kind)
			})
		})
	}
}

// ping has ts1 ping mesh1 at both of its addresses.
func (s *scripted) ping(ctx context.Context, kind tstailcfg.PingType) error {
	ip4, ip6 := s.mesh.ips()
	return errors.Join(s.ts.ping(ctx, ip4, kind), s.ts.ping(ctx, ip6, kind))
}

// The coordinator asks whether the node is there, and wants to be called.
func TestPingsOfTheCoordinatorAreAnswered(t *testing.T) {
	s := newScripted(t)
	const path = "/generate_204?ping=1"
	equal(t, "mesh1 listens to the coordinator", s.control.AddPingRequest(
		theirNodePublic(s.mesh.key()), &tstailcfg.PingRequest{URL: s.controlURL + path}), true)
	eventually(t, "mesh1 calls the coordinator", func(context.Context) error {
		if !s.requests.had("HEAD " + path) {
			return errors.New("it does not")
		}
		return nil
	})
}

// The coordinator sends the node an HTTP request.
func TestRequestsOfTheCoordinatorAreAnswered(t *testing.T) {
	s := newScripted(t)
	mesh := theirNodePublic(s.mesh.key())
	ask := func(method, path, body string) (status int, answer string) {
		t.Helper()
		req, err := http.NewRequestWithContext(within(t, 10*time.Second), method, "http://node"+path, strings.NewReader(body))
		check(t, "a request is made", err)
		resp, err := s.control.NodeRoundTripper(mesh).RoundTrip(req)
		check(t, "mesh1 answers", err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		check(t, "the answer is read", err)
		return resp.StatusCode, string(text)
	}
	status, answer := ask("POST", "/echo", "hello")
	equal(t, "the status of the echo", status, http.StatusOK)
	equal(t, "the echo", answer, "hello")
	status, _ = ask("GET", "/of-no-node", "")
	if status < 400 {
		t.Errorf("a request that meshnet does not know has status %d", status)
	}
}
