package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// pipes is a listener for connections in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-p.conns:
		return nc, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// start starts a server that answers as a handler of net/http does, and returns
// a client of it, whose connections the caller may count.
func start(t *testing.T, answer func(*Exchange)) (client *http.Client, p *pipes) {
	t.Helper()
	p = newPipes()
	s := Serve(p)
	go func() {
		for {
			e, err := s.Accept()
			if err != nil {
				return
			}
			go answer(e)
		}
	}()
	transport := &http.Transport{DialContext: p.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.Close()
	})
	return &http.Client{Transport: transport}, p
}

// echo answers with what it got.
func echo(e *Exchange) {
	header := http.Header{"X-Method": {e.Request.Method}}
	if e.Request.URL.Path == "/sized" {
		header.Set("Content-Length", "5")
	}
	if e.Respond(http.StatusOK, header) != nil {
		return
	}
	if e.Request.URL.Path == "/sized" {
		io.WriteString(e, "sized")
	} else {
		io.Copy(e, e)
	}
	e.CloseWrite()
	e.Close()
}

func TestAnswers(t *testing.T) {
	large := strings.Repeat("0123456789", 20_000)
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/", "", ""},
		{"GET", "/sized", "", "sized"},
		{"HEAD", "/sized", "", ""},
		{"POST", "/", "hello", "hello"},
		{"PUT", "/", large, large},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, _ := start(t, echo)
			for range 2 { // on one connection
				req, _ := http.NewRequest(c.method, "http://page"+c.path, strings.NewReader(c.body))
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(body) != c.want || resp.Header.Get("X-Method") != c.method {
					t.Errorf("%s %s: %d bytes, %v, %v", c.method, c.path, len(body), resp.Header, err)
				}
			}
		})
	}
}

func TestStreamComesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		more := make(chan string)
		client, _ := start(t, func(e *Exchange) {
			e.Respond(http.StatusOK, http.Header{})
			for text := range more {
				io.WriteString(e, text)
			}
			e.CloseWrite()
		})
		resp, err := client.Get("http://page/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for _, text := range []string{"one", "two"} {
			more <- text
			got := make([]byte, 3)
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != text {
				t.Errorf("%q, %v", got, err)
			}
		}
		close(more)
		if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
	})
}

func TestBrokenOffAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := start(t, func(e *Exchange) {
			e.Respond(http.StatusOK, http.Header{})
			io.WriteString(e, "half of")
			e.Close()
		})
		resp, err := client.Get("http://page/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("half an answer is taken for a whole one: %q", text)
		}
	})
}

func TestCloseWhileThePageIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, p := start(t, func(e *Exchange) { e.Respond(http.StatusOK, http.Header{}) })
		resp, err := client.Get("http://page/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		p.Close() // the listener fails, and with it the server
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("the answer is taken for a whole one")
		}
	})
}

// A body that is longer than its head says would be taken for the next answer.
func TestAnswerOfAnotherLength(t *testing.T) {
	for _, body := range []string{"four", "sixsix"} {
		synctest.Test(t, func(t *testing.T) {
			_, p := start(t, func(e *Exchange) {
				e.Respond(http.StatusOK, http.Header{"Content-Length": {"5"}})
				io.WriteString(e, body)
				e.CloseWrite()
			})
			nc, _ := p.dial(t.Context(), "", "")
			go io.WriteString(nc, "GET / HTTP/1.1\r\nHost: page\r\n\r\n")
			answer, err := io.ReadAll(nc) // the connection is closed
			_, got, _ := strings.Cut(string(answer), "\r\n\r\n")
			if err != nil || got != body[:min(len(body), 5)] {
				t.Errorf("of %q came %q, %v", body, got, err)
			}
		})
	}
}

func TestBodyThatNobodyWantsAndThatDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := start(t, func(e *Exchange) {
			e.Respond(http.StatusOK, http.Header{"Content-Length": {"0"}})
			e.CloseWrite()
		})
		nc, _ := p.dial(t.Context(), "", "")
		start := time.Now()
		go io.WriteString(nc, "POST / HTTP/1.1\r\nHost: page\r\nContent-Length: 100\r\n\r\n")
		answer, _ := io.ReadAll(nc)
		if d := time.Since(start); d > headTimeout || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
			t.Errorf("after %v: %q", d, answer)
		}
	})
}

func TestURL(t *testing.T) {
	for request, want := range map[string]string{
		"GET /a%2Fb?c=d HTTP/1.1\r\nHost: page":       "http://page/a%2Fb?c=d",
		"GET http://page:81/a HTTP/1.1\r\nHost: else": "http://page:81/a",
		"GET //a/b HTTP/1.1\r\nHost: page":            "http://page//a/b",
		"OPTIONS * HTTP/1.1\r\nHost: page":            "http://page/",
		"GET / HTTP/1.0":                              "http://pipe/",
	} {
		synctest.Test(t, func(t *testing.T) {
			_, p := start(t, func(e *Exchange) {
				e.Respond(http.StatusOK, http.Header{"X-Url": {e.URL()}})
				e.Close()
			})
			nc, _ := p.dial(t.Context(), "", "")
			defer nc.Close()
			go io.WriteString(nc, request+"\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Fatalf("%q: %v", request, err)
			}
			if got := resp.Header.Get("X-Url"); got != want {
				t.Errorf("%q: %s, want %s", request, got, want)
			}
		})
	}
}

func TestPairs(t *testing.T) {
	got := Pairs(http.Header{"X-Two": {"a", "é\xff"}, "With Space": {"no"}})
	want := [][2]string{{"X-Two", "a"}, {"X-Two", "Ã©ÿ"}}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Bytes(want[1][1]); got != "é\xff" {
		t.Errorf("back it is %q", got)
	}
}

func TestAnsweredTwice(t *testing.T) {
	e := newExchange(httptest.NewRequest("GET", "/", nil))
	if err := e.Respond(http.StatusOK, http.Header{}); err != nil {
		t.Error(err)
	}
	if err := e.Respond(http.StatusOK, http.Header{}); !errors.Is(err, errAnswered) {
		t.Errorf("the second answer: %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	for name, text := range map[string]string{
		"no HTTP":      "hello, who is there?\r\n\r\n",
		"no host":      "GET / HTTP/1.1\r\n\r\n",
		"endless head": "GET / HTTP/1.1\r\nHost: page\r\nX: " + strings.Repeat("x", 2*maxHead),
	} {
		synctest.Test(t, func(t *testing.T) {
			_, p := start(t, echo)
			nc, _ := p.dial(t.Context(), "", "")
			go io.WriteString(nc, text)
			answer, err := io.ReadAll(nc)
			if !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) {
				t.Errorf("%s: %q, %v", name, answer, err)
			}
		})
	}
}

func TestSilentConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := start(t, echo)
		for said, limit := range map[string]time.Duration{"": headTimeout, "GET / HT": headTimeout} {
			nc, _ := p.dial(t.Context(), "", "")
			start := time.Now()
			go io.WriteString(nc, said)
			io.Copy(io.Discard, nc)
			if d := time.Since(start); d > limit {
				t.Errorf("after %q a connection is kept for %v", said, d)
			}
		}
	})
}

func TestOldClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := start(t, echo)
		nc, _ := p.dial(t.Context(), "", "")
		go io.WriteString(nc, "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
		answer, err := io.ReadAll(nc)
		if err != nil || !bytes.HasSuffix(answer, []byte("\r\n\r\nhi")) || bytes.Contains(answer, []byte("chunked")) {
			t.Errorf("%q, %v", answer, err)
		}
	})
}

func TestExpectation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := start(t, echo)
		nc, _ := p.dial(t.Context(), "", "")
		defer nc.Close()
		go io.WriteString(nc, "POST / HTTP/1.1\r\nHost: page\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
		r := bufio.NewReader(nc)
		if line, err := r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
			t.Errorf("%q, %v", line, err)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: page\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: page\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"))
	f.Add([]byte("PUT / HTTP/1.0\r\nContent-Length: 9\r\n\r\nx"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p := newPipes()
		s := Serve(p)
		defer s.Close()
		go func() {
			for {
				e, err := s.Accept()
				if err != nil {
					return
				}
				go echo(e)
			}
		}()
		nc, err := p.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			io.Copy(io.Discard, nc)
		}()
		nc.Write(text)
		nc.Close()
		<-read
	})
}
