package control

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

func TestPings(t *testing.T) {
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		x := joined(t, c, s)
		ping := func(p tailcfg.PingRequest) { x.send(&tailcfg.MapResponse{KeepAlive: true, PingRequest: &p}) }

		ping(tailcfg.PingRequest{URL: "http://Example.com:8080/pong?id=1"})
		if got := want(t, "a ping outside is answered", c.others); got.method != "HEAD" || got.path != "outside /pong?id=1" {
			t.Errorf("answers with %s %s", got.method, got.path)
		}
		ping(tailcfg.PingRequest{URL: "http://Example.com:8080/pong?id=1"})
		wantNone(t, "a ping is answered twice", c.others)

		for _, elsewhere := range []string{
			"http://other.example:8080/", "http://example.com/", "https://example.com:8080/",
			"http://example.com:8080@other.example/", "file:///etc/passwd", "", "%",
		} {
			ping(tailcfg.PingRequest{URL: elsewhere}) // a dial would fail the test
			wantNone(t, "a ping from elsewhere is answered", c.others)
		}

		ping(tailcfg.PingRequest{URL: "https://anywhere/pong?id=2", URLIsNoise: true})
		got := want(t, "a ping inside is answered", c.others)
		if got.method != "HEAD" || got.path != "/pong" {
			t.Errorf("answers with %s %s", got.method, got.path)
		}
		got.answer(http.StatusOK, nil)

		x.send(&tailcfg.MapResponse{Domain: "example", PingRequest: &tailcfg.PingRequest{
			URL: "https://anywhere/c2n/3", Types: "c2n",
			Payload: []byte("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
		}})
		got = want(t, "a request is answered", c.others)
		if got.method != "POST" || got.path != "/c2n/3" || !strings.HasSuffix(string(got.body), "\r\n\r\nhello") {
			t.Errorf("answers with %s %s %q", got.method, got.path, got.body)
		}
		got.answer(http.StatusOK, nil)
		if ev := want(t, "the rest of the map arrives", s.Events()); ev.Map.Domain != "example" || ev.Map.PingRequest != nil {
			t.Errorf("%+v", ev.Map)
		}

		ping(tailcfg.PingRequest{URL: "https://anywhere/4", Types: "TSMP,disco"})
		if ev := want(t, "a ping for others goes up", s.Events()); ev.Map.PingRequest == nil || ev.Map.PingRequest.Types != "TSMP,disco" {
			t.Errorf("%+v", ev.Map)
		}
		wantNone(t, "it is answered", c.others)
		ping(tailcfg.PingRequest{URL: "https://anywhere/4", Types: "TSMP,disco"})
		wantNone(t, "it goes up twice", s.Events())
	})
}

func TestAnswersOfPeers(t *testing.T) {
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		joined(t, c, s)
		answered := make(chan error, 1)
		answer := func(p tailcfg.PingRequest) {
			go func() {
				answered <- s.Answer(t.Context(), &p, tailcfg.PingResponse{Type: "disco", LatencySeconds: 0.5, DERPRegionID: 7})
			}()
		}
		answer(tailcfg.PingRequest{URL: "https://anywhere/ping?id=1", URLIsNoise: true})
		got := want(t, "an answer inside", c.others)
		if got.method != "POST" || got.path != "/ping" || string(got.body) != `{"Type":"disco","LatencySeconds":0.5,"DERPRegionID":7}` {
			t.Errorf("answers with %s %s %s", got.method, got.path, got.body)
		}
		got.answer(http.StatusOK, nil)
		if err := <-answered; err != nil {
			t.Error(err)
		}
		answer(tailcfg.PingRequest{URL: "http://example.com:8080/ping?id=2"})
		if got := want(t, "an answer outside", c.others); got.method != "POST" || got.path != "outside /ping?id=2" {
			t.Errorf("answers with %s %s", got.method, got.path)
		}
		if err := <-answered; err != nil {
			t.Error(err)
		}
		answer(tailcfg.PingRequest{URL: "http://other.example:8080/ping"}) // a dial would fail the test
		if err := <-answered; err == nil {
			t.Error("somebody else is told")
		}
	})
}

func TestPingsThatPileUp(t *testing.T) {
	scenario(t, func(t *testing.T, c *coordinator, s *Session) {
		x := joined(t, c, s)
		for i := range 100 {
			p := &tailcfg.PingRequest{URL: fmt.Sprintf("/%d", i), URLIsNoise: true}
			x.send(&tailcfg.MapResponse{KeepAlive: true, PingRequest: p})
			synctest.Wait()
		}
		for range maxPings + 1 { // one was being answered
			want(t, "a ping is answered", c.others).answer(http.StatusOK, nil)
		}
		wantNone(t, "one ping more is answered", c.others)
	})
}

func TestAnswerC2N(t *testing.T) {
	for _, tt := range []struct {
		request    string
		wantStatus int // 0: an error
		wantBody   string
	}{
		{"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 200, ""},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 200, "abc"},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, "abc"},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabc", 0, ""},
		{"POST /update HTTP/1.1\r\nHost: x\r\n\r\n", 404, "404 page not found\n"},
		{"nonsense", 0, ""},
		{"", 0, ""},
		{"GET /echo HTTP/1.1\r\nX: " + strings.Repeat("x", maxC2N), 0, ""},
	} {
		answer, err := answerC2N([]byte(tt.request))
		if (err != nil) != (tt.wantStatus == 0) {
			t.Errorf("%.30q: %v", tt.request, err)
		}
		if err != nil {
			continue
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
		if err != nil {
			t.Errorf("%.30q: the answer %q: %v", tt.request, answer, err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode != tt.wantStatus || string(body) != tt.wantBody || err != nil {
			t.Errorf("%.30q: %d %q, %v", tt.request, resp.StatusCode, body, err)
		}
	}
}

func FuzzAnswerC2N(f *testing.F) {
	f.Add([]byte("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("GET http:// HTTP/1.1\r\n\r\n"))
	f.Add([]byte("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, request []byte) {
		if answer, err := answerC2N(request); err == nil && !bytes.HasPrefix(answer, []byte("HTTP/1.1 ")) {
			t.Errorf("answers %q", answer)
		}
	})
}
