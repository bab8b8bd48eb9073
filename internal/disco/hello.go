package disco

import "net/netip"

// Hello is how meshnet nodes recognise each other: only they send it, through
// relays, and only they know its type, so that others ignore it. What they do
// with each other beyond the protocols of Tailscale begins with it: larger
// packets where the path carries them, and port probing.
//
//	flags   1   bit 0: Answer, bit 1: Probe
//	NAT     1
//	public  N × (16 address, 2 port)
//
// Of a version that is not ours, which would be newer, nothing can be read but
// that the sender is a meshnet node.
type Hello struct {
	// Answer asks for a Hello in return.
	Answer bool
	// Probe says that the sender begins a search for a path by port probing, or
	// would begin one if the receiver answers in kind.
	Probe bool
	// NAT is the kind of NAT that the sender is behind.
	NAT NAT
	// Public are the addresses at which STUN servers saw the sender. Behind a
	// hard NAT they are the mappings that it made lately. Like those of a
	// [CallMeMaybe] they may be anything.
	Public []netip.AddrPort
}

// NAT is a kind of NAT, as far as it matters to a peer. Values above those that
// have a name mean as little as UnknownNAT.
type NAT uint8

// The kinds of NAT.
const (
	// UnknownNAT may be any, or none.
	UnknownNAT NAT = iota
	// EasyNAT maps a socket to the same address for all destinations, or there
	// is no NAT.
	EasyNAT
	// HardNAT maps a socket to another address for each destination.
	HardNAT
)

const (
	helloAnswer = 1 << iota
	helloProbe
)

// Append implements [Message].
func (m Hello) Append(dst []byte) []byte {
	var flags byte
	if m.Answer {
		flags |= helloAnswer
	}
	if m.Probe {
		flags |= helloProbe
	}
	dst = append(dst, typeHello, version, flags, byte(m.NAT))
	return appendEndpoints(dst, m.Public)
}

func parseHello(v byte, body []byte) (Message, error) {
	if v != version {
		return Hello{}, nil
	}
	if len(body) < 2 {
		return nil, errShort("hello", body)
	}
	flags, nat := body[0], NAT(body[1])
	return Hello{
		Answer: flags&helloAnswer != 0,
		Probe:  flags&helloProbe != 0,
		NAT:    nat,
		Public: parseEndpoints(body[2:]),
	}, nil
}
