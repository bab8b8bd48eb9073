// Package derp speaks DERP, the protocol by which nodes that have no direct
// path exchange packets through a relay. A relay knows its clients by their
// node keys and cannot read what they send: packets are WireGuard's, or sealed
// disco messages.
//
// [Dial] makes a [Client], which is one connection to one relay. [Server] is a
// relay, an [net/http.Handler]; the relays of a region [Server.Mesh] with each
// other. [ServeSTUN] is the responder that nodes expect beside it.
//
// # On the wire
//
// A client upgrades an HTTP/1.1 request for /derp ("Upgrade: DERP") on a TLS
// connection. Where that does not get through, and in browsers, the frames
// travel in the binary messages of a WebSocket with the subprotocol "derp",
// whose borders mean nothing. A client that finds the relay's key behind its
// certificate ([Server.TLSConfig]) sends its first frame along with the
// request ("Derp-Fast-Start: 1"), which is then not answered in HTTP. From
// then on both sides send frames:
//
//	+------+---------------------+----------------+
//	| type | length (big endian) | payload        |
//	| 1    | 4                   | length bytes   |
//	+------+---------------------+----------------+
//
//	type  name           way   payload
//	01    ServerKey      s→c   8 magic "DERP🔑", 32 key of the relay
//	02    ClientInfo     c→s   32 key of the client, box of JSON to the relay
//	03    ServerInfo     s→c   box of JSON to the client
//	04    SendPacket     c→s   32 destination, packet of up to 65536
//	05    RecvPacket     s→c   32 source, packet of up to 65536
//	06    KeepAlive      s→c   nothing; every 60 to 65 s
//	07    NotePreferred  c→s   1: is this relay the client's home?
//	08    PeerGone       s→c   32 key, 1 reason
//	09    PeerPresent    s→r   32 key, 16 address, 2 port, 1 flags
//	0a    ForwardPacket  r→s   32 source, 32 destination, packet
//	10    WatchConns     r→s   nothing; from now on tell who comes and goes
//	11    ClosePeer      r→s   32 key; end its connections
//	12    Ping           both  8, echoed by Pong
//	13    Pong           both  8
//	14    Health         s→c   text; none: all is well
//	15    Restarting     s→c   4 reconnect in ms, 4 keep trying for ms
//
// A box is 24 bytes of nonce and a NaCl box between the two keys. The first
// three frames are the login, in that order; opening the client's box proves
// to the relay that the client holds its key. Unknown types are skipped, and
// payloads may be longer than shown, so that newer peers can say more.
//
// Types 09, 0a, 10 and 11 are for relays of one region (r), which show each
// other in ClientInfo that they know the region's [MeshKey]. Each connects to
// each, watches it, and forwards to it the packets for its clients.
//
// Frames and their meaning are those of Tailscale's derp package, version 2 of
// the protocol, as of v1.102.5.
package derp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

// MaxPacketSize is the size of the largest packet that a relay carries.
const MaxPacketSize = 64 << 10

// FrameType says what a frame is about.
type FrameType byte

// The frames that [Client.Recv] returns.
const (
	FrameRecvPacket  FrameType = 0x05 // a packet from a peer
	FrameKeepAlive   FrameType = 0x06 // the relay is alive
	FramePeerGone    FrameType = 0x08 // a peer is not connected to the relay
	FramePeerPresent FrameType = 0x09 // a peer is connected to the relay; only after WatchConns
	FramePong        FrameType = 0x13 // the answer to a ping
	FrameHealth      FrameType = 0x14 // the relay found something wrong with the connection
	FrameRestarting  FrameType = 0x15 // the relay is about to restart
)

const (
	frameServerKey     FrameType = 0x01
	frameClientInfo    FrameType = 0x02
	frameServerInfo    FrameType = 0x03
	frameSendPacket    FrameType = 0x04
	frameNotePreferred FrameType = 0x07
	frameForwardPacket FrameType = 0x0a
	frameWatchConns    FrameType = 0x10
	frameClosePeer     FrameType = 0x11
	framePing          FrameType = 0x12
)

const (
	protocolVersion = 2
	magic           = "DERP🔑"

	headerSize    = 1 + 4
	maxFrameSize  = 1 << 20  // of any payload; a longer one ends the connection
	maxServerKey  = 1 << 10  // of the relay's greeting
	maxClientInfo = 16 << 10 // Tailscale's relays accept 256 KiB; clients send some hundred bytes
	pingSize      = 8
	maxPingSize   = 1000 // Tailscale's relays tolerate as much
)

// PeerGoneReason says why a relay has no way to a peer.
type PeerGoneReason byte

const (
	// PeerGoneDisconnected is told about peers from whom a packet came over
	// this connection: they have left the relay.
	PeerGoneDisconnected PeerGoneReason = 0
	// PeerGoneNotHere is the answer to a disco packet for a peer whom the
	// relay does not know. Other packets are dropped silently.
	PeerGoneNotHere PeerGoneReason = 1
)

// PeerFlags say what kind of client a peer is.
type PeerFlags byte

// The flags that relays give.
const (
	PeerRegular  PeerFlags = 1 << iota // a node
	PeerRelay                          // another relay of the region, or who else has the mesh key
	PeerProber                         // a program that watches the relay
	PeerNotIdeal                       // it would rather be at another relay of the region
)

// Frame is something that a relay said. Type tells which fields are set.
type Frame struct {
	Type FrameType
	// Peer is who sent the packet (RecvPacket), or who is not connected
	// (PeerGone), or who is (PeerPresent).
	Peer key.NodePublic
	// Addr is from where the peer is connected (PeerPresent); zero when that
	// is not known.
	Addr netip.AddrPort
	// Flags says what kind of client the peer is (PeerPresent).
	Flags PeerFlags
	// Data is the packet (RecvPacket), the ping's content (Pong), or the text
	// for people (Health), which is empty when all is well again.
	Data []byte
	// Reason is why the peer is gone (PeerGone).
	Reason PeerGoneReason
	// ReconnectIn is how long to wait before connecting again, and TryFor how
	// long that may take until it counts as a failure (Restarting).
	ReconnectIn, TryFor time.Duration
}

var (
	errShort = errors.New("frame is too short")
	errLong  = errors.New("frame is too long")
)

// parseFrame reads a frame that a relay sends after the login. It reports
// false when the type is not one of them. The Frame's Data is part of payload.
func parseFrame(typ FrameType, payload []byte) (f Frame, known bool, err error) {
	f.Type = typ
	switch typ {
	case FrameRecvPacket:
		f.Peer, f.Data, err = cutKey(payload)
		if len(f.Data) > MaxPacketSize {
			err = errLong
		}
	case FramePeerGone:
		var reason []byte
		f.Peer, reason, err = cutKey(payload)
		if len(reason) > 0 { // old relays give none
			f.Reason = PeerGoneReason(reason[0])
		}
	case FramePeerPresent:
		err = f.parsePresent(payload)
	case FramePong:
		f.Data, err = cutPing(payload)
	case FrameRestarting:
		if len(payload) < 8 {
			return Frame{}, true, errShort
		}
		f.ReconnectIn = milliseconds(payload)
		f.TryFor = milliseconds(payload[4:])
	case FrameHealth:
		f.Data = payload
	case FrameKeepAlive:
	default:
		return Frame{}, false, nil
	}
	if err != nil {
		return Frame{}, true, err
	}
	return f, true, nil
}

// parsePresent reads the payload of PeerPresent, of which old relays send only
// the beginning.
func (f *Frame) parsePresent(payload []byte) (err error) {
	const addrSize = 16 + 2
	var rest []byte
	f.Peer, rest, err = cutKey(payload)
	if err != nil || len(rest) < addrSize {
		return err
	}
	if ip := netip.AddrFrom16([16]byte(rest)).Unmap(); !ip.IsUnspecified() {
		f.Addr = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(rest[16:]))
	}
	if len(rest) > addrSize {
		f.Flags = PeerFlags(rest[addrSize])
	}
	return nil
}

// appendPresent appends a whole PeerPresent frame.
func appendPresent(dst []byte, peer key.NodePublic, addr netip.AddrPort, flags PeerFlags) []byte {
	dst = appendHeader(dst, FramePeerPresent, key.Size+16+2+1)
	dst = peer.AppendRaw(dst)
	var ip [16]byte // unspecified
	if addr.IsValid() {
		ip = addr.Addr().As16()
	}
	dst = append(dst, ip[:]...)
	dst = binary.BigEndian.AppendUint16(dst, addr.Port())
	return append(dst, byte(flags))
}

// parseServerKey reads the relay's greeting.
func parseServerKey(payload []byte) (key.NodePublic, error) {
	if len(payload) < len(magic) || string(payload[:len(magic)]) != magic {
		return key.NodePublic{}, errors.New("the greeting is not a relay's")
	}
	k, _, err := cutKey(payload[len(magic):])
	return k, err
}

// cutKey splits the key off the payloads that begin with one.
func cutKey(payload []byte) (k key.NodePublic, rest []byte, err error) {
	if len(payload) < key.Size {
		return key.NodePublic{}, nil, errShort
	}
	return key.NodePublicFromRaw32([key.Size]byte(payload)), payload[key.Size:], nil
}

func cutPing(payload []byte) ([]byte, error) {
	if len(payload) < pingSize {
		return nil, errShort
	}
	return payload[:pingSize], nil
}

func milliseconds(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Millisecond
}

func appendHeader(dst []byte, typ FrameType, size int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byte(typ)), uint32(size))
}

// readHeader reads the five bytes in front of every payload. A payload longer
// than limit is an error, because it is a mistake or an attack.
func readHeader(r *bufio.Reader, limit int) (typ FrameType, size int, err error) {
	head, err := r.Peek(headerSize)
	if err != nil {
		return 0, 0, err
	}
	typ, size, err = parseHeader(head, limit)
	r.Discard(headerSize)
	return typ, size, err
}

func parseHeader(head []byte, limit int) (typ FrameType, size int, err error) {
	typ = FrameType(head[0])
	announced := binary.BigEndian.Uint32(head[1:])
	if announced > uint32(limit) {
		return 0, 0, fmt.Errorf("frame of type %02x announces %d bytes", byte(typ), announced)
	}
	return typ, int(announced), nil
}

// writeFrame puts a frame into w.
func writeFrame(w *bufio.Writer, typ FrameType, payload []byte) error {
	head, err := room(w)
	if err != nil {
		return err
	}
	w.Write(appendHeader(head, typ, len(payload)))
	_, err = w.Write(payload)
	return err
}

// writePeerFrame puts a frame into w whose payload begins with a key.
func writePeerFrame(w *bufio.Writer, typ FrameType, peer key.NodePublic, rest []byte) error {
	head, err := room(w)
	if err != nil {
		return err
	}
	w.Write(peer.AppendRaw(appendHeader(head, typ, key.Size+len(rest))))
	_, err = w.Write(rest)
	return err
}

// room returns memory of w's own for a header and a key: made so, they cost no
// allocation. bufio's errors stick, so that only the last write need be
// checked.
func room(w *bufio.Writer) ([]byte, error) {
	if w.Available() < headerSize+key.Size {
		if err := w.Flush(); err != nil {
			return nil, err
		}
	}
	return w.AvailableBuffer(), nil
}
