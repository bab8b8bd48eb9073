package policy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// IP protocol numbers that mean something here.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoTSMP   = 99
	protoSCTP   = 132
)

// usual is what a rule is for that names no protocols.
var usual = [...]int{protoTCP, protoUDP, protoICMP, protoICMPv6}

var allPorts = tailcfg.PortRange{First: 0, Last: math.MaxUint16}

// protoNames are those of Tailscale's policies.
var protoNames = map[string][]int{
	"icmp":      {protoICMP, protoICMPv6},
	"igmp":      {2},
	"ipv4":      {4},
	"ip-in-ip":  {4},
	"tcp":       {protoTCP},
	"egp":       {8},
	"igp":       {9},
	"udp":       {protoUDP},
	"gre":       {47},
	"esp":       {50},
	"ah":        {51},
	"ipv6-icmp": {protoICMPv6},
	"sctp":      {protoSCTP},
}

// parseProto reads a protocol's name or number. No name stands for the usual
// ones, which are nil.
func parseProto(text string) ([]int, error) {
	if text == "" {
		return nil, nil
	}
	if protos, ok := protoNames[text]; ok {
		return protos, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("%.40q is no protocol%s", text, didYouMean(text, sortedKeys(protoNames)))
	}
	if n < 1 || n > 255 || text != strconv.Itoa(n) {
		return nil, fmt.Errorf("%.40q is no protocol: numbers are 1 to 255", text)
	}
	return []int{n}, nil
}

// checkPorts refuses ports for protocols that have none.
func checkPorts(protos []int, ports []tailcfg.PortRange) error {
	for _, p := range protos {
		if !hasPorts(p) && slices.ContainsFunc(ports, func(r tailcfg.PortRange) bool { return r != allPorts }) {
			return errors.New(`only tcp, udp and sctp have ports: write "*" for those of another protocol`)
		}
	}
	return nil
}

func hasPorts(proto int) bool { return proto == protoTCP || proto == protoUDP || proto == protoSCTP }

// parsePorts reads "*", or ports and ranges with commas between.
func parsePorts(text string) (ports []tailcfg.PortRange, err error) {
	if text == "*" {
		return []tailcfg.PortRange{allPorts}, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		r := tailcfg.PortRange{}
		if r.First, err = parsePort(first); err != nil {
			return nil, err
		}
		if r.Last, err = parsePort(last); err != nil {
			return nil, err
		}
		if r.First > r.Last {
			return nil, fmt.Errorf("there are no ports from %d to %d", r.First, r.Last)
		}
		ports = append(ports, r)
	}
	return ports, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf(`%.40q is no port: ports are 1 to 65535, or "*" for all`, text)
	}
	return uint16(n), nil
}

// allow is protocols and, where the rule's destinations do not have their own,
// ports.
type allow struct {
	protos []int // nil: the usual ones
	ports  []tailcfg.PortRange
}

// parseAllow reads an entry of a grant's "ip": "*", "443", "80-90", "tcp:443"
// or "icmp:*".
func parseAllow(text string) (a allow, err error) {
	if strings.Contains(text, ",") {
		return a, fmt.Errorf("%.40q has a comma: each port has an entry of its own", text)
	}
	ports := text
	if proto, rest, ok := strings.Cut(text, ":"); ok {
		if proto == "" {
			return a, fmt.Errorf("%.40q has no protocol before its colon", text)
		}
		if a.protos, err = parseProto(proto); err != nil {
			return a, err
		}
		ports = rest
	} else if _, isProto := protoNames[text]; isProto {
		return a, fmt.Errorf("%.40q has no ports; did you mean %q?", text, text+":*")
	}
	if a.ports, err = parsePorts(ports); err != nil {
		return a, err
	}
	return a, checkPorts(a.protos, a.ports)
}

// passes reports whether packets of the protocol may go to the port: where any
// may, ICMP may too; nodes do not look at its rules closer than that.
func passes(protos []int, ports []tailcfg.PortRange, proto uint8, port uint16) bool {
	if proto == protoICMP || proto == protoICMPv6 {
		return len(ports) > 0
	}
	if protos == nil {
		protos = usual[:]
	}
	if !slices.Contains(protos, int(proto)) {
		return false
	}
	return slices.ContainsFunc(ports, func(r tailcfg.PortRange) bool {
		if !hasPorts(int(proto)) {
			return r == allPorts
		}
		return r.First <= port && port <= r.Last
	})
}

// portsText shows protocols and ports as a policy would write them.
func portsText(protos []int, ports []tailcfg.PortRange) string {
	var b strings.Builder
	for i, p := range protos {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(protoText(p))
	}
	if len(protos) > 0 {
		b.WriteByte(' ')
	}
	for i, r := range ports {
		switch {
		case i == 8:
			return b.String() + ",…"
		case i > 0:
			b.WriteByte(',')
		}
		switch {
		case r == allPorts:
			b.WriteByte('*')
		case r.First == r.Last:
			b.WriteString(strconv.Itoa(int(r.First)))
		default:
			fmt.Fprintf(&b, "%d-%d", r.First, r.Last)
		}
	}
	return b.String()
}

func protoText(p int) string {
	switch p {
	case protoICMP:
		return "icmp"
	case protoICMPv6:
		return "ipv6-icmp"
	case protoTCP:
		return "tcp"
	case protoUDP:
		return "udp"
	case protoSCTP:
		return "sctp"
	default:
		return "protocol " + strconv.Itoa(p)
	}
}
