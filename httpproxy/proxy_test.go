package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// A proxy is a Server in memory and the network behind it.
type proxy struct {
	*Server
	memNet
	ln   *memListener
	stop context.CancelFunc
	done chan error // what Serve returned
	logs *logs
}

// logs is what the Server logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start serves s in memory until the test ends.
func start(t testing.TB, s *Server) *proxy {
	ctx, stop := context.WithCancel(context.Background())
	p := &proxy{Server: s, memNet: memNet{}, ln: memListen("proxy:1080"), stop: stop, done: make(chan error, 1), logs: new(logs)}
	if s.Dial == nil {
		s.Dial = p.memNet.dial
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.NewTextHandler(p.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	go func() { p.done <- s.Serve(ctx, p.ln) }()
	t.Cleanup(func() {
		stop()
		p.done <- <-p.done
	})
	return p
}

// web serves pages at an address behind the proxy.
func (p *proxy) web(t testing.TB, addr string, h http.HandlerFunc) {
	s := &http.Server{Handler: h}
	go s.Serve(p.listen(t, addr))
	t.Cleanup(func() { s.Close() })
}

// client returns an HTTP client that nobody here wrote, with the proxy.
func (p *proxy) client(t testing.TB) *http.Client {
	tr := &http.Transport{
		Proxy:       http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy:1080"}),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.ln.dial(ctx) },
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// A peer is a connection and what the test says and hears on it.
type peer struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func newPeer(t testing.TB, c net.Conn) *peer {
	t.Cleanup(func() { c.Close() })
	return &peer{c, t, bufio.NewReader(c)}
}

// connect opens a connection to the proxy.
func (p *proxy) connect(t testing.TB) *peer {
	t.Helper()
	c, err := p.ln.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, c)
}

// accept waits for a connection at an address behind the proxy.
func (p *proxy) accept(t testing.TB, addr string) *peer {
	t.Helper()
	c, err := p.memNet[addr].Accept()
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, c)
}

// say sends lines, each with the end that HTTP wants.
func (p *peer) say(lines ...string) {
	p.t.Helper()
	if _, err := io.WriteString(p, strings.Join(lines, "\r\n")+"\r\n"); err != nil {
		p.t.Fatalf("saying %q: %v", lines, err)
	}
}

// wantHead checks the whole head of a request or an answer.
func (p *peer) wantHead(why string, lines ...string) {
	p.t.Helper()
	for _, want := range append(lines, "") {
		got, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("%s: got %q and %v, want %q", why, got, err, want)
		}
		if got = strings.TrimSuffix(got, "\r\n"); got != want {
			p.t.Fatalf("%s: got %q, want %q", why, got, want)
		}
	}
}

// wantAnswer reads an answer to a request of the given method.
func (p *peer) wantAnswer(why, method string, status int) (*http.Response, string) {
	p.t.Helper()
	res, err := http.ReadResponse(p.r, &http.Request{Method: method})
	if err != nil {
		p.t.Fatalf("%s: %v", why, err)
	}
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != status {
		p.t.Fatalf("%s: got %v with %q, want %d", why, res.Status, body, status)
	}
	return res, string(body)
}

// want reads exactly the text.
func (p *peer) want(why, text string) {
	p.t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(p.r, got); string(got[:n]) != text {
		p.t.Fatalf("%s: got %q and %v, want %q", why, got[:n], err, text)
	}
}

// wantEnd reads until the other side has closed its direction.
func (p *peer) wantEnd(why string) {
	p.t.Helper()
	if rest, err := io.ReadAll(p.r); err != nil || len(rest) > 0 {
		p.t.Fatalf("%s: got %q and %v, want the end", why, rest, err)
	}
}

func (p *peer) closeWrite() { p.Conn.(*memConn).CloseWrite() }

// tunnel opens a tunnel to a listener behind the proxy and returns both ends.
func (p *proxy) tunnel(t testing.TB, addr string) (client, target *peer) {
	t.Helper()
	if p.memNet[addr] == nil {
		p.listen(t, addr)
	}
	client = p.connect(t)
	client.say("CONNECT "+addr+" HTTP/1.1", "Host: "+addr, "")
	target = p.accept(t, addr)
	client.wantHead("the tunnel is open", "HTTP/1.1 200 Connection established")
	return client, target
}
