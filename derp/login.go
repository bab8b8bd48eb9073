package derp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/meshnet-go/meshnet/key"
)

// clientInfo is what a client says of itself.
type clientInfo struct {
	Version     int  `json:"version,omitempty"`
	CanAckPings bool // it answers pings of the relay
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
func sendClientInfo(w *bufio.Writer, client key.NodePrivate, server key.NodePublic) error {
	info, err := json.Marshal(clientInfo{Version: protocolVersion, CanAckPings: true})
	if err != nil {
		return err
	}
	writePeerFrame(w, frameClientInfo, client.Public(), client.SealTo(server, info))
	return w.Flush()
}

func readClientInfo(r *bufio.Reader, server key.NodePrivate) (key.NodePublic, error) {
	payload, err := readPayload(r, frameClientInfo, maxClientInfo)
	if err != nil {
		return key.NodePublic{}, err
	}
	return parseClientInfo(payload, server)
}

// parseClientInfo returns the key that the client has proven to hold.
func parseClientInfo(payload []byte, server key.NodePrivate) (key.NodePublic, error) {
	client, sealed, err := cutKey(payload)
	if err != nil {
		return key.NodePublic{}, err
	}
	if client.IsZero() { // anybody can make boxes of the zero key
		return key.NodePublic{}, errors.New("the client has no key")
	}
	text, ok := server.OpenFrom(client, sealed)
	if !ok {
		return key.NodePublic{}, fmt.Errorf("client %s does not hold that key", client.Short())
	}
	var info clientInfo
	if err := json.Unmarshal(text, &info); err != nil {
		return key.NodePublic{}, fmt.Errorf("what client %s says of itself: %w", client.Short(), err)
	}
	return client, nil
}

// sendServerInfo tells the client that it is in.
func sendServerInfo(w *bufio.Writer, server key.NodePrivate, client key.NodePublic) error {
	info, err := json.Marshal(serverInfo{Version: protocolVersion})
	if err != nil {
		return err
	}
	writeFrame(w, frameServerInfo, server.SealTo(client, info))
	return w.Flush()
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
