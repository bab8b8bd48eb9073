// Package stun makes and reads STUN binding requests and responses, with which
// a node learns the public address of its UDP socket (RFC 8489).
//
// Every message begins with the same 20 bytes; attributes follow, each padded
// to a multiple of 4 bytes:
//
//	 0                   1                   2                   3
//	+-------------------------------+-------------------------------+
//	| type: 0001 request, 0101 reply| bytes after this header       |
//	+-------------------------------+-------------------------------+
//	| magic cookie 2112a442                                         |
//	+---------------------------------------------------------------+
//	| transaction ID, 12 bytes                                      |
//	+-------------------------------+-------------------------------+
//	| attribute type                | length of its value           |
//	+-------------------------------+-------------------------------+
//	| value, then padding                                           |
//	+---------------------------------------------------------------+
//
// A request has two attributes and 40 bytes. Tailscale's relays answer no
// other (observed in v1.102.5):
//
//	8022 SOFTWARE     "tailnode"
//	8028 FINGERPRINT  CRC-32 of everything before it, xor 5354554e; the last
//
// A response has one; 32 bytes for IPv4, 44 for IPv6:
//
//	0020 XOR-MAPPED-ADDRESS  00, family (01 or 02), port, address; the port
//	                         xor the cookie's first half, the address xor
//	                         cookie and transaction ID
package stun

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
)

// TxID identifies a request; its response carries the same.
type TxID [12]byte

// NewTxID returns a random transaction ID.
func NewTxID() (tx TxID) {
	rand.Read(tx[:]) // never fails: crypto/rand ends the program instead
	return tx
}

const (
	headerSize = 20

	typeRequest  = 0x0001
	typeResponse = 0x0101

	attrMappedAddress       = 0x0001
	attrXORMappedAddress    = 0x0020
	attrXORMappedAddressOld = 0x8020 // of drafts; some servers still send it
	attrSoftware            = 0x8022
	attrFingerprint         = 0x8028

	familyIPv4 = 1
	familyIPv6 = 2

	cookie         = 0x2112a442
	fingerprintXOR = 0x5354554e
	software       = "tailnode"

	fingerprintSize = 4 + 4
)

var (
	errNotSTUN    = errors.New("stun: not a STUN message")
	errType       = errors.New("stun: unexpected message type")
	errMalformed  = errors.New("stun: malformed attributes")
	errNotOurs    = errors.New("stun: request without the expected software and fingerprint")
	errNoAddress  = errors.New("stun: response without an address")
	errBadAddress = errors.New("stun: malformed address")
)

// Is reports whether b looks like a STUN message. Disco and WireGuard packets
// never do.
func Is(b []byte) bool {
	return len(b) >= headerSize && b[0]&0xc0 == 0 && binary.BigEndian.Uint32(b[4:]) == cookie
}

// AppendRequest appends a binding request to dst.
func AppendRequest(dst []byte, tx TxID) []byte {
	start := len(dst)
	dst = appendHeader(dst, typeRequest, 4+len(software)+fingerprintSize, tx)
	dst = appendAttr(dst, attrSoftware, len(software))
	dst = append(dst, software...)
	sum := fingerprint(dst[start:])
	dst = appendAttr(dst, attrFingerprint, 4)
	return binary.BigEndian.AppendUint32(dst, sum)
}

// ParseRequest returns the transaction ID of a binding request. It accepts
// only requests of the form that [AppendRequest] makes, so that a server is no
// use to those who look for something that sends more than it gets.
func ParseRequest(b []byte) (TxID, error) {
	tx, attrs, err := parseHeader(b, typeRequest)
	if err != nil {
		return TxID{}, err
	}
	signed := len(b) - len(attrs) // how much of b precedes the attribute at hand
	ours, sealed := false, false
	for len(attrs) > 0 {
		typ, value, rest, err := cutAttr(attrs)
		if err != nil {
			return TxID{}, err
		}
		ours = ours || typ == attrSoftware && string(value) == software
		sealed = typ == attrFingerprint && len(value) == 4 &&
			binary.BigEndian.Uint32(value) == fingerprint(b[:signed])
		signed += len(attrs) - len(rest)
		attrs = rest
	}
	if !ours || !sealed {
		return TxID{}, errNotOurs
	}
	return tx, nil
}

// AppendResponse appends the response that tells the sender of request tx that
// it was seen coming from addr, which must be valid.
func AppendResponse(dst []byte, tx TxID, addr netip.AddrPort) []byte {
	ip := addr.Addr().Unmap()
	family, raw := byte(familyIPv6), ip.AsSlice()
	if ip.Is4() {
		family = familyIPv4
	}
	value := 4 + len(raw)
	dst = appendHeader(dst, typeResponse, 4+value, tx)
	dst = appendAttr(dst, attrXORMappedAddress, value)
	dst = append(dst, 0, family)
	dst = binary.BigEndian.AppendUint16(dst, addr.Port()^(cookie>>16))
	mask := xorMask(tx)
	for i, b := range raw {
		dst = append(dst, b^mask[i])
	}
	return dst
}

// ParseResponse returns the transaction ID and the address that a successful
// response carries. What follows the message in b is ignored.
func ParseResponse(b []byte) (TxID, netip.AddrPort, error) {
	tx, attrs, err := parseHeader(b, typeResponse)
	if err != nil {
		return TxID{}, netip.AddrPort{}, err
	}
	var plain netip.AddrPort // for servers that know only RFC 3489
	for len(attrs) > 0 {
		typ, value, rest, err := cutAttr(attrs)
		if err != nil {
			return TxID{}, netip.AddrPort{}, err
		}
		switch typ {
		case attrXORMappedAddress, attrXORMappedAddressOld:
			addr, err := parseAddress(value, cookie>>16, xorMask(tx))
			return tx, addr, err
		case attrMappedAddress:
			if plain, err = parseAddress(value, 0, [16]byte{}); err != nil {
				return TxID{}, netip.AddrPort{}, err
			}
		}
		attrs = rest
	}
	if !plain.IsValid() {
		return TxID{}, netip.AddrPort{}, errNoAddress
	}
	return tx, plain, nil
}

func appendHeader(dst []byte, typ uint16, size int, tx TxID) []byte {
	dst = binary.BigEndian.AppendUint16(dst, typ)
	dst = binary.BigEndian.AppendUint16(dst, uint16(size))
	dst = binary.BigEndian.AppendUint32(dst, cookie)
	return append(dst, tx[:]...)
}

func appendAttr(dst []byte, typ uint16, size int) []byte {
	dst = binary.BigEndian.AppendUint16(dst, typ)
	return binary.BigEndian.AppendUint16(dst, uint16(size))
}

// parseHeader returns the transaction ID and the attributes of a message of
// type want.
func parseHeader(b []byte, want uint16) (tx TxID, attrs []byte, err error) {
	if !Is(b) {
		return TxID{}, nil, errNotSTUN
	}
	if binary.BigEndian.Uint16(b) != want {
		return TxID{}, nil, errType
	}
	attrs = b[headerSize:]
	size := int(binary.BigEndian.Uint16(b[2:]))
	if size > len(attrs) {
		return TxID{}, nil, errMalformed
	}
	return TxID(b[8:headerSize]), attrs[:size], nil
}

// cutAttr splits the first attribute off attrs.
func cutAttr(attrs []byte) (typ uint16, value, rest []byte, err error) {
	if len(attrs) < 4 {
		return 0, nil, nil, errMalformed
	}
	size := int(binary.BigEndian.Uint16(attrs[2:]))
	padded := (size + 3) &^ 3
	body := attrs[4:]
	if padded > len(body) {
		return 0, nil, nil, errMalformed
	}
	return binary.BigEndian.Uint16(attrs), body[:size], body[padded:], nil
}

// parseAddress reads the value of an address attribute, hidden by the masks.
func parseAddress(value []byte, portMask uint16, mask [16]byte) (netip.AddrPort, error) {
	if len(value) < 4 {
		return netip.AddrPort{}, errBadAddress
	}
	size := 0
	switch value[1] {
	case familyIPv4:
		size = 4
	case familyIPv6:
		size = 16
	}
	if size == 0 || len(value) < 4+size {
		return netip.AddrPort{}, errBadAddress
	}
	var raw [16]byte
	for i := range size {
		raw[i] = value[4+i] ^ mask[i]
	}
	ip, _ := netip.AddrFromSlice(raw[:size])
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(value[2:])^portMask), nil
}

// xorMask is what an address is hidden with: the cookie, then the transaction
// ID.
func xorMask(tx TxID) (mask [16]byte) {
	binary.BigEndian.PutUint32(mask[:], cookie)
	copy(mask[4:], tx[:])
	return mask
}

func fingerprint(b []byte) uint32 { return crc32.ChecksumIEEE(b) ^ fingerprintXOR }
