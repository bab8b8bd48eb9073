package socks5

import (
	"errors"
	"io"
	"net/netip"
)

const (
	// maxHeader is the size of the longest header that we put before a reply.
	maxHeader = 3 + 1 + 16 + 2
	// maxDatagram is the longest payload that UDP has over IPv6; over IPv4 it
	// is 65,507 bytes.
	maxDatagram = 65527
)

var errFragment = errors.New("datagram is a fragment")

// parseDatagram takes apart what a client sends to the UDP port of its
// association:
//
//	+----+------+------+----------+----------+----------+
//	|RSV | FRAG | ATYP | DST.ADDR | DST.PORT |   DATA   |
//	+----+------+------+----------+----------+----------+
//	| 2  |  1   |  1   | Variable |    2     | Variable |
//	+----+------+------+----------+----------+----------+
//
// Fragments, whose FRAG is not 0, are refused: to put them together again is
// optional. The target, ATYP to DST.PORT, is still to be parsed; like data it is
// a part of b.
func parseDatagram(b []byte) (target, data []byte, err error) {
	if len(b) < 3 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	if b[2] != 0 {
		return nil, nil, errFragment
	}
	b = b[3:]
	size, err := addressSize(b)
	switch {
	case err != nil:
		return nil, nil, err
	case len(b) < size:
		return nil, nil, io.ErrUnexpectedEOF
	}
	return b[:size:size], b[size:], nil
}

// appendHeader appends the header of a datagram from a target to the client.
func appendHeader(b []byte, from netip.AddrPort) []byte {
	return appendAddress(append(b, 0, 0, 0), from)
}

// headerSize is how many bytes appendHeader appends.
func headerSize(from netip.AddrPort) int {
	if from.Addr().Unmap().Is6() {
		return maxHeader
	}
	return 3 + 1 + 4 + 2
}
