package coord

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/noise"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// testServer is a coordinator that is reached through pipes.
type testServer struct {
	*Server
	t     *testing.T
	outer *http.Server
	conns chan net.Conn
	done  chan struct{}
}

// Accept implements net.Listener.
func (ts *testServer) Accept() (net.Conn, error) {
	select {
	case c := <-ts.conns:
		return c, nil
	case <-ts.done:
		return nil, net.ErrClosed
	}
}

type pipeListener struct{ *testServer }

func (pipeListener) Close() error   { return nil }
func (pipeListener) Addr() net.Addr { return noAddr{} }

var testDERP = &derpmap.Map{Regions: map[int]*derpmap.Region{1: {RegionID: 1}}}

func serve(t *testing.T, c Config) *testServer {
	t.Helper()
	if c.DERPMap == nil {
		c.DERPMap = testDERP
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ts := &testServer{Server: s, t: t, outer: &http.Server{Handler: s}, conns: make(chan net.Conn), done: make(chan struct{})}
	go ts.outer.Serve(pipeListener{ts})
	t.Cleanup(ts.stop)
	return ts
}

// stop closes the coordinator and what is around it; it may be called twice.
func (ts *testServer) stop() {
	select {
	case <-ts.done:
		return
	default:
	}
	if err := ts.Close(); err != nil {
		ts.t.Errorf("close: %v", err)
	}
	close(ts.done)
	ts.outer.Close()
	synctest.Wait()
}

func (ts *testServer) dial() (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case ts.conns <- theirs:
		return ours, nil
	case <-ts.done:
		return nil, net.ErrClosed
	}
}

// get answers a plain request to the coordinator.
func (ts *testServer) get(method, path string, header http.Header) (int, string) {
	ts.t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return ts.dial() }}
	req, err := http.NewRequest(method, "http://coord"+path, nil)
	if err != nil {
		ts.t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		ts.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// machine is a control client: enough of one to say and hear everything.
type machine struct {
	t    *testing.T
	ts   *testServer
	key  key.MachinePrivate
	node key.NodePublic
	http *http.Transport

	webSocket bool // as a browser
}

func (ts *testServer) machine() *machine {
	m := &machine{t: ts.t, ts: ts, key: key.NewMachine(), node: nodeKey()}
	m.http = &http.Transport{
		Protocols:   new(http.Protocols),
		DialContext: func(context.Context, string, string) (net.Conn, error) { return m.upgrade() },
	}
	m.http.Protocols.SetUnencryptedHTTP2(true)
	ts.t.Cleanup(m.http.CloseIdleConnections)
	return m
}

// upgrade makes a Noise connection.
func (m *machine) upgrade() (net.Conn, error) {
	i, err := noise.Initiate(m.key, m.ts.PublicKey(), 130)
	if err != nil {
		return nil, err
	}
	if m.webSocket {
		return i.Finish(m.ts.openWebSocket(m.t, i.Message))
	}
	nc, err := m.ts.dial()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(nc, "POST /ts2021 HTTP/1.1\r\nHost: coord\r\nUpgrade: %s\r\nConnection: upgrade\r\n%s: %s\r\n\r\n",
		upgradeProtocol, handshakeHeader, base64.StdEncoding.EncodeToString(i.Message))
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		nc.Close()
		return nil, errors.New(resp.Status)
	}
	return i.Finish(bufferedConn{nc, r})
}

// bufferedConn is a connection of which a part has been read.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// post sends a request in the Noise connection.
func (m *machine) post(ctx context.Context, path string, body any) (*http.Response, error) {
	data, ok := body.([]byte)
	if !ok {
		data, _ = json.Marshal(body)
	}
	req, err := http.NewRequestWithContext(ctx, "POST", "http://coord"+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return m.http.RoundTrip(req)
}

// head sends a HEAD request in the Noise connection, and returns the status.
func (m *machine) head(path string) int {
	m.t.Helper()
	req, err := http.NewRequest("HEAD", "http://coord"+path, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	resp, err := m.http.RoundTrip(req)
	if err != nil {
		return 0 // at the end of a test
	}
	resp.Body.Close()
	return resp.StatusCode
}

// status posts, and returns status and text of the answer.
func (m *machine) status(path string, body any) (int, string) {
	m.t.Helper()
	resp, err := m.post(m.t.Context(), path, body)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func (m *machine) register(req *tailcfg.RegisterRequest) (resp tailcfg.RegisterResponse) {
	m.t.Helper()
	code, text := m.status("/machine/register", req)
	if err := json.Unmarshal([]byte(text), &resp); code != 200 || err != nil {
		m.t.Fatalf("register: %d %s", code, text)
	}
	return resp
}

// join registers the machine's node and fails the test if it may not.
func (m *machine) join(hostname, authKey string) {
	m.t.Helper()
	if resp := m.register(request(m.node, hostname, authKey)); !resp.MachineAuthorized || resp.Error != "" || resp.User.ID == 0 {
		m.t.Fatalf("%s joins: %+v", hostname, resp)
	}
}

func (m *machine) report(req tailcfg.MapRequest) {
	m.t.Helper()
	req.Version, req.NodeKey, req.OmitPeers = 130, m.node, true
	if code, text := m.status("/machine/map", req); code != 200 || text != "" {
		m.t.Fatalf("report: %d %q, want an empty 200", code, text)
	}
}

// testStream is the long poll of a node.
type testStream struct {
	t    *testing.T
	body io.ReadCloser
	zstd bool
}

func (m *machine) stream(compress string) *testStream {
	m.t.Helper()
	resp, err := m.post(m.t.Context(), "/machine/map", tailcfg.MapRequest{Version: 130, NodeKey: m.node, Stream: true, KeepAlive: true, Compress: compress})
	if err != nil || resp.StatusCode != 200 {
		m.t.Fatalf("map: %+v, %v", resp, err)
	}
	m.t.Cleanup(func() { resp.Body.Close() })
	return &testStream{m.t, resp.Body, compress == "zstd"}
}

// next returns the next frame, and how long it took.
func (s *testStream) next(what string) (resp *tailcfg.MapResponse, after time.Duration) {
	s.t.Helper()
	start := time.Now()
	resp, err := s.read()
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	return resp, time.Since(start)
}

// frame is next without keepalives.
func (s *testStream) frame(what string) *tailcfg.MapResponse {
	s.t.Helper()
	for {
		if resp, _ := s.next(what); !resp.KeepAlive {
			return resp
		}
	}
}

func (s *testStream) read() (*tailcfg.MapResponse, error) {
	var length [4]byte
	if _, err := io.ReadFull(s.body, length[:]); err != nil {
		return nil, err
	}
	payload := make([]byte, binary.LittleEndian.Uint32(length[:]))
	if _, err := io.ReadFull(s.body, payload); err != nil {
		return nil, err
	}
	if s.zstd {
		payload = unzstd(s.t, payload)
	}
	resp := new(tailcfg.MapResponse)
	return resp, json.Unmarshal(payload, resp)
}

// wantEnd checks that nothing but keepalives comes before the end.
func (s *testStream) wantEnd(what string) {
	s.t.Helper()
	for {
		resp, err := s.read()
		if err != nil {
			return
		}
		if !resp.KeepAlive {
			s.t.Fatalf("%s: got %+v, want the end of the stream", what, resp)
		}
	}
}
