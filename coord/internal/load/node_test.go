package load

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
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/meshnet-go/meshnet/internal/noise"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

const (
	capability = 130
	// quietPort is the port of a node's endpoint that marks no change.
	quietPort = 10_000
)

// node is the control connection of one.
type node struct {
	coordinator *coordinator
	authKey     string
	machine     key.MachinePrivate
	key         key.NodePublic
	disco       key.DiscoPublic
	http        *http.Transport

	body    io.Closer // of the stream
	reading sync.WaitGroup
	frames  atomic.Int64 // that the stream has brought, but for keepalives
}

func newNode(c *coordinator, authKey string) *node {
	n := &node{coordinator: c, authKey: authKey, machine: key.NewMachine(), key: key.NewNode().Public(), disco: key.NewDisco().Public()}
	n.http = &http.Transport{
		Protocols:   new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return n.connect(ctx) },
	}
	n.http.Protocols.SetUnencryptedHTTP2(true)
	return n
}

func (n *node) close() {
	if n.body != nil {
		n.body.Close()
	}
	n.reading.Wait()
	n.http.CloseIdleConnections()
}

// connect makes a Noise connection.
func (n *node) connect(ctx context.Context) (net.Conn, error) {
	public, err := key.ParseMachinePublic(n.coordinator.Key)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", n.coordinator.Addr)
	if err != nil {
		return nil, err
	}
	i, err := noise.Initiate(n.machine, public, capability)
	if err == nil {
		_, err = fmt.Fprintf(nc, "POST /ts2021 HTTP/1.1\r\nHost: c\r\nUpgrade: tailscale-control-protocol\r\nConnection: upgrade\r\nX-Tailscale-Handshake: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(i.Message))
	}
	r := bufio.NewReader(nc)
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(r, nil)
	}
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(resp.Status)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return i.Finish(buffered{nc, r})
}

// buffered is a connection of which a part has been read.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// post sends a request in the Noise connection.
func (n *node) post(ctx context.Context, path string, body any) (*http.Response, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://coordinator"+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return n.http.RoundTrip(req)
}

func (n *node) register(ctx context.Context, i int) error {
	resp, err := n.post(ctx, "/machine/register", tailcfg.RegisterRequest{
		Version: capability, NodeKey: n.key, Auth: &tailcfg.RegisterAuth{AuthKey: n.authKey},
		Hostinfo: &tailcfg.Hostinfo{Hostname: fmt.Sprintf("node%d", i), OS: "linux", IPNVersion: "1.102.5-t0123456789", GoArch: "amd64", GoVersion: "go1.26.3"},
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer tailcfg.RegisterResponse
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if !answer.MachineAuthorized {
		return errors.New("refused: " + answer.Error)
	}
	return n.report(ctx, quietPort)
}

// report publishes the node's endpoints, one of them with the port.
func (n *node) report(ctx context.Context, port uint16) error {
	resp, err := n.post(ctx, "/machine/map", tailcfg.MapRequest{
		Version: capability, NodeKey: n.key, DiscoKey: n.disco, OmitPeers: true,
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.168.1.17:41641"), netip.MustParseAddrPort("198.51.100.7:41641"), netip.AddrPortFrom(markAddr, port)},
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// stream opens the node's map stream, and returns when it has read the first
// frame.
func (n *node) stream(ctx context.Context, m *marks) error {
	resp, err := n.post(ctx, "/machine/map", tailcfg.MapRequest{Version: capability, NodeKey: n.key, DiscoKey: n.disco, Stream: true, KeepAlive: true})
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return errors.New(resp.Status)
	}
	first := make(chan error, 1)
	n.body = resp.Body
	n.reading.Go(func() { n.readFrames(resp.Body, m, first) })
	return <-first
}

// readFrames reads the frames of a stream until it ends.
func (n *node) readFrames(body io.Reader, m *marks, first chan<- error) {
	r := bufio.NewReaderSize(body, 512)
	var buf []byte
	for {
		var length [4]byte
		_, err := io.ReadFull(r, length[:])
		if err == nil {
			buf = slices.Grow(buf[:0], int(binary.LittleEndian.Uint32(length[:])))[:binary.LittleEndian.Uint32(length[:])]
			_, err = io.ReadFull(r, buf)
		}
		if err == nil && bytes.HasPrefix(buf, []byte(`{"KeepAlive"`)) {
			continue
		}
		if n.frames.Add(1) == 1 {
			first <- err
			buf = nil // large, and no longer needed
		}
		if err != nil {
			return
		}
		m.look(buf)
	}
}
