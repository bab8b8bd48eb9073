package socks5

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// The address types of RFC 1928, section 5.
const (
	typeIPv4 = 1
	typeName = 3
	typeIPv6 = 4
)

var (
	errAddressType = errors.New("address type is none of IPv4, IPv6 and name")
	errName        = errors.New("name is empty or contains what no name contains")
)

// An address is what ATYP, DST.ADDR and DST.PORT of a message name, or ATYP,
// BND.ADDR and BND.PORT:
//
//	+------+----------+------+
//	| ATYP |   ADDR   | PORT |
//	+------+----------+------+
//	|  1   | 4        |  2   |  IPv4
//	|  3   | 1+length |  2   |  a name: its length, then its bytes
//	|  4   | 16       |  2   |  IPv6
//	+------+----------+------+
//
// The number of bytes stands below, except for ATYP, where it is the value.
// The port is in network byte order.
type address struct {
	ip   netip.Addr // invalid when it is a name
	name string
	port uint16
}

// host returns the IP address or the name.
func (a address) host() string {
	if a.ip.IsValid() {
		return a.ip.String()
	}
	return a.name
}

// addressSize returns how many bytes the address has that begins with b, or as
// many as are needed to say.
func addressSize(b []byte) (int, error) {
	if len(b) < 2 {
		return 2, nil
	}
	switch b[0] {
	case typeIPv4:
		return 1 + 4 + 2, nil
	case typeIPv6:
		return 1 + 16 + 2, nil
	case typeName:
		return 1 + 1 + int(b[1]) + 2, nil
	}
	return 0, errAddressType
}

// parseAddress reads an address that fills b.
func parseAddress(b []byte) (address, error) {
	if err := complete(b, addressSize); err != nil {
		return address{}, err
	}
	host, port := b[1:len(b)-2], binary.BigEndian.Uint16(b[len(b)-2:])
	if b[0] != typeName {
		ip, _ := netip.AddrFromSlice(host) // 4 or 16 bytes, as addressSize says
		// A rule for 10.0.0.1 shall hold for ::ffff:10.0.0.1 too.
		return address{ip: ip.Unmap(), port: port}, nil
	}
	name := string(host[1:])
	if !validName(name) {
		return address{}, errName
	}
	// Some clients send addresses as names: a rule shall hold for them too,
	// however they are spelt.
	if ip, err := netip.ParseAddr(name); err == nil {
		return address{ip: ip.Unmap(), port: port}, nil
	}
	return address{name: name, port: port}, nil
}

// validName refuses names that could mean something else to what they are
// handed to: a log, a resolver, or [net.SplitHostPort].
func validName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c <= ' ', c == 0x7f, c == '[', c == ']':
			return false
		}
	}
	return name != ""
}

// appendAddress appends an IP address and port. The invalid one becomes
// 0.0.0.0:0, which stands for an address that we do not know.
func appendAddress(b []byte, a netip.AddrPort) []byte {
	ip := a.Addr().Unmap()
	switch {
	case ip.Is4():
		v4 := ip.As4()
		b = append(append(b, typeIPv4), v4[:]...)
	case ip.Is6():
		v6 := ip.As16()
		b = append(append(b, typeIPv6), v6[:]...)
	default:
		b = append(b, typeIPv4, 0, 0, 0, 0)
	}
	return binary.BigEndian.AppendUint16(b, a.Port())
}
