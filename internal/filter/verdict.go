package filter

import "fmt"

// Verdict is what becomes of a packet, and why. The zero Verdict drops it.
type Verdict uint8

// Reasons to drop a packet.
const (
	DropNoFilter  Verdict = iota // no filter has arrived yet
	DropShort                    // too short for an IP packet
	DropUnknown                  // not IP, malformed, or a fragment that hides ports
	DropMulticast                // to a multicast address
	DropLinkLocal                // to a link-local address
	DropNotLocal                 // neither to us nor to a route that we advertise
	DropNoRule                   // no rule allows it
	DropJailed                   // the sender may not start anything
)

// Reasons to accept a packet.
const (
	AcceptEmpty    Verdict = iota + DropJailed + 1 // nothing in it
	AcceptFragment                                 // without its first fragment, which is judged, it is worth nothing
	AcceptAnswer                                   // a packet of a connection, or an answer by ICMP
	AcceptFlow                                     // answers a datagram that we sent
	AcceptRule                                     // a rule allows it
	AcceptTSMP                                     // for the node itself
)

// Verdicts is how many verdicts there are, for arrays that count them.
const Verdicts = int(AcceptTSMP) + 1

// Accepted reports whether the packet may pass.
func (v Verdict) Accepted() bool { return v >= AcceptEmpty && v <= AcceptTSMP }

var verdictNames = [Verdicts]string{
	DropNoFilter:   "drop: no filter",
	DropShort:      "drop: too short",
	DropUnknown:    "drop: unknown",
	DropMulticast:  "drop: multicast",
	DropLinkLocal:  "drop: link-local",
	DropNotLocal:   "drop: not for us",
	DropNoRule:     "drop: no rule",
	DropJailed:     "drop: jailed",
	AcceptEmpty:    "accept: empty",
	AcceptFragment: "accept: fragment",
	AcceptAnswer:   "accept: answer",
	AcceptFlow:     "accept: flow",
	AcceptRule:     "accept: rule",
	AcceptTSMP:     "accept: TSMP",
}

// String returns "drop" or "accept" and the reason.
func (v Verdict) String() string {
	if int(v) < Verdicts {
		return verdictNames[v]
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}
