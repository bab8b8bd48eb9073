package derp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/meshnet-go/meshnet/key"
)

// clientInfo is what a client says of itself.
type clientInfo struct {
	Version     int    `json:"version,omitempty"`
	CanAckPings bool   // it answers pings of the relay
	MeshKey     string `json:"meshKey,omitempty"`
	IsProber    bool   `json:",omitempty"`
}

// hello is what a relay knows of a client that has proven its key.
type hello struct {
	key      key.NodePublic
	trusted  bool // it knows the mesh key
	prober   bool
	notIdeal bool
}

func (h hello) flags() (f PeerFlags) {
	f = PeerRegular
	switch {
	case h.trusted:
		f = PeerRelay
	case h.prober:
		f = PeerProber
	}
	if h.notIdeal {
		f |= PeerNotIdeal
	}
	return f
}

// serverInfo is what a relay says of itself. Clients that send more than the
// limits allow must expect to be slowed down.
type serverInfo struct {
	Version                   int `json:"version,omitempty"`
	TokenBucketBytesPerSecond int `json:",omitempty"`
	TokenBucketBytesBurst     int `json:",omitempty"`
}

// readPayload reads a frame of type want into memory of its own.
func readPayload(r *bufio.Reader, want FrameType, limit int) ([]byte, error) {
	typ, size, err := readHeader(r, limit)
	if err != nil {
		return nil, err
	}
	if typ != want {
		return nil, fmt.Errorf("frame of type %02x instead of %02x", byte(typ), byte(want))
	}
	payload := make([]byte, size)
	_, err = io.ReadFull(r, payload)
	return payload, err
}

// sendServerKey greets a client.
func sendServerKey(w *bufio.Writer, server key.NodePublic) error {
	writeFrame(w, frameServerKey, server.AppendRaw([]byte(magic)))
	return w.Flush()
}

func readServerKey(r *bufio.Reader) (key.NodePublic, error) {
	payload, err := readPayload(r, frameServerKey, maxServerKey)
	if err != nil {
		return key.NodePublic{}, err
	}
	return parseServerKey(payload)
}

// sendClientInfo tells the relay who we are, sealed so that it is proven.
func sendClientInfo(w *bufio.Writer, client key.NodePrivate, mesh MeshKey, server key.NodePublic) error {
	info, err := json.Marshal(clientInfo{Version: protocolVersion, CanAckPings: true, MeshKey: mesh.secret()})
	if err != nil {
		return err
	}
	writePeerFrame(w, frameClientInfo, client.Public(), client.SealTo(server, info))
	return w.Flush()
}

func readClientInfo(r *bufio.Reader, server key.NodePrivate, mesh MeshKey) (hello, error) {
	payload, err := readPayload(r, frameClientInfo, maxClientInfo)
	if err != nil {
		return hello{}, err
	}
	return parseClientInfo(payload, server, mesh)
}

// parseClientInfo returns what the client has proven, and what it says.
func parseClientInfo(payload []byte, server key.NodePrivate, mesh MeshKey) (hello, error) {
	client, sealed, err := cutKey(payload)
	if err != nil {
		return hello{}, err
	}
	if client.IsZero() { // anybody can make boxes of the zero key
		return hello{}, errors.New("the client has no key")
	}
	text, ok := server.OpenFrom(client, sealed)
	if !ok {
		return hello{}, fmt.Errorf("client %s does not hold that key", client.Short())
	}
	var info clientInfo
	if err := json.Unmarshal(text, &info); err != nil {
		return hello{}, fmt.Errorf("what client %s says of itself: %w", client.Short(), err)
	}
	return hello{key: client, trusted: mesh.is(info.MeshKey), prober: info.IsProber}, nil
}

// login returns who the client is. The connection has a deadline meanwhile.
func (s *Server) login(nc net.Conn, rw *bufio.ReadWriter) (hello, error) {
	if err := sendServerKey(rw.Writer, s.public); err != nil {
		return hello{}, err
	}
	h, err := readClientInfo(rw.Reader, s.key, s.meshKey)
	if err != nil || h.trusted || s.admit == nil {
		return h, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, handshakeTimeout)
	defer cancel()
	if err := s.admit(ctx, h.key, remoteAddr(nc)); err != nil {
		return hello{}, fmt.Errorf("client %s is not admitted: %w", h.key.Short(), err)
	}
	return h, nil
}

// serverInfo returns the message that tells the client that it is in.
func (s *Server) serverInfo(c *session) (*message, error) {
	info := serverInfo{Version: protocolVersion}
	if c.limit != nil {
		info.TokenBucketBytesPerSecond = s.limit.BytesPerSecond
		info.TokenBucketBytesBurst = s.limit.Burst
	}
	text, err := json.Marshal(info)
	if err != nil {
		return nil, err
	}
	sealed := s.key.SealTo(c.key, text)
	m := s.messages.get(frameServerInfo, key.NodePublic{}, len(sealed))
	copy(m.data, sealed)
	return m, nil
}

func parseServerInfo(payload []byte, client key.NodePrivate, server key.NodePublic) (serverInfo, error) {
	text, ok := client.OpenFrom(server, payload)
	if !ok {
		return serverInfo{}, errors.New("the relay does not hold its key")
	}
	var info serverInfo
	if err := json.Unmarshal(text, &info); err != nil {
		return serverInfo{}, fmt.Errorf("what the relay says of itself: %w", err)
	}
	return info, nil
}

// expectFrames looks whether frames come, or a web server that does not give us
// the relay.
func expectFrames(r *bufio.Reader) error {
	start, err := r.Peek(headerSize)
	if err != nil {
		return fmt.Errorf("read the relay's key: %w", err)
	}
	if !strings.HasPrefix(string(start), "HTTP/") {
		return nil
	}
	status, err := r.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read the answer to the upgrade: %w", err)
	}
	return fmt.Errorf("the upgrade was answered with %q", strings.TrimSpace(string(status)))
}
