package interop

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go4.org/netipx"
	"tailscale.com/net/packet"
	tstailcfg "tailscale.com/tailcfg"
	"tailscale.com/types/logger"
	tsfilter "tailscale.com/wgengine/filter"

	"github.com/meshnet-go/meshnet/internal/filter"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// filterCase is a filter and an inbound packet, before which another may have
// been sent.
type filterCase struct {
	config filter.Config
	sent   []byte // nil: nothing
	packet []byte
}

// deliberate are the points in which our filter differs from theirs on
// purpose. Each says of which cases that may be so, and shows one.
var deliberate = []struct {
	name    string
	may     func(filterCase) bool
	example filterCase
	ours    bool // whether we accept the example; they do not, or the other way round
}{
	{
		// Theirs lets a peer with the capability ping every address.
		name: "a cap: source pings only the destinations of its rule",
		may:  func(c filterCase) bool { return c.isICMP() && c.hasCapSource() },
		example: filterCase{
			config: filterConfig(tailcfg.FilterRule{SrcIPs: []string{"cap:a"}, DstPorts: to("10.1.0.0/16", 0, 65535)}),
			packet: ip4(protoICMP, peerA4, self4, 0, echoRequest()),
		},
		ours: false,
	},
	{
		// Theirs forgets them for protocols without ports.
		name: "a cap: source counts in every protocol",
		may:  func(c filterCase) bool { return c.isPortless() && c.hasCapSource() },
		example: filterCase{
			config: filterConfig(tailcfg.FilterRule{SrcIPs: []string{"cap:a"}, DstPorts: to("*", 0, 65535), IPProto: []int{protoGRE}}),
			packet: ip4(protoGRE, peerA4, self4, 0, make([]byte, 8)),
		},
		ours: true,
	},
	{
		// Theirs lets such a rule allow pings.
		name: "a rule for no ports allows nothing",
		may:  func(c filterCase) bool { return c.isICMP() && c.hasEmptyPorts() },
		example: filterCase{
			config: filterConfig(tailcfg.FilterRule{SrcIPs: []string{"*"}, DstPorts: to("*", 443, 22)}),
			packet: ip4(protoICMP, peerA4, self4, 0, echoRequest()),
		},
		ours: false,
	},
	{
		// Theirs takes its number for 18, of a reply that is no error (v1.102.5).
		name: "parameter problem is an ICMP error",
		may:  func(c filterCase) bool { return c.isICMP() && (c.hasICMPType(12) || c.hasICMPType(18)) },
		example: filterCase{
			config: filterConfig(),
			packet: ip4(protoICMP, peerA4, self4, 0, []byte{12, 0, 0, 0, 0, 0, 0, 0}),
		},
		ours: true,
	},
	{
		name:    "without addresses of our own nothing comes in",
		may:     func(c filterCase) bool { return len(c.config.Local) == 0 },
		example: filterCase{packet: nil},
		ours:    false,
	},
	{
		// Theirs reads ports behind the end that the header names.
		name: "what follows an IP packet is no part of it",
		may:  func(c filterCase) bool { return c.headerSays() != len(c.packet) },
		example: filterCase{
			config: filterConfig(allowAll),
			packet: withLength4(ip4(protoUDP, peerA4, self4, 0, make([]byte, 8)), 24),
		},
		ours: false,
	},
	{
		name: "a header shorter than an IPv4 header is no header",
		may:  func(c filterCase) bool { return len(c.packet) > 0 && c.packet[0] < 0x45 && c.packet[0] >= 0x40 },
		example: filterCase{
			config: filterConfig(allowAll),
			packet: withFirstByte(ip4(protoUDP, peerA4, self4, 0, make([]byte, 8)), 0x44),
		},
		ours: false,
	},
	{
		name: "TSMP is not fragmented in IPv6 either",
		may: func(c filterCase) bool {
			return len(c.packet) > 6 && c.packet[0]>>4 == 6 && c.packet[6] == protoFragment
		},
		example: filterCase{
			config: filterConfig(allowAll),
			packet: ip6(protoFragment, peerA6, self6, append([]byte{protoTSMP, 0, 0, 1, 0, 0, 0, 0}, make([]byte, 8)...)),
		},
		ours: false,
	},
}

func TestCodecFilterDeliberateDifferencesExist(t *testing.T) {
	for _, d := range deliberate {
		t.Run(d.name, func(t *testing.T) {
			equal(t, "the difference may appear here", d.may(d.example), true)
			equal(t, "we accept the packet", d.example.ours(), d.ours)
			equal(t, "they accept the packet", d.example.theirs(), !d.ours)
		})
	}
}

func TestCodecFilterVerdictsAreTheirs(t *testing.T) {
	for seed := range uint64(20_000) {
		sameVerdict(t, newFilterCase(seed))
	}
}

// FuzzFilter: any rules and any packet get the same verdict from both filters,
// but for the deliberate differences.
func FuzzFilter(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, int(seed), byte(seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, at int, bits byte) {
		c := newFilterCase(seed)
		c.packet = flipped(c.packet, at, bits)
		sameVerdict(t, c)
	})
}

func sameVerdict(t *testing.T, c filterCase) {
	t.Helper()
	ours, theirs := c.ours(), c.theirs()
	if ours == theirs {
		return
	}
	for _, d := range deliberate {
		if d.may(c) {
			return
		}
	}
	rules, _ := json.Marshal(c.config.Rules)
	t.Fatalf("we accept: %v, they accept: %v\npacket %x\nsent   %x\nlocal  %v\nrules  %s",
		ours, theirs, c.packet, c.sent, c.config.Local, rules)
}

func TestCodecFilterCapabilitiesAreTheirs(t *testing.T) {
	addrs := []netip.Addr{self4, self6, peerA4, peerA6, peerB4, stranger4, netip.MustParseAddr("10.1.2.3")}
	for seed := range uint64(2000) {
		c := newFilterCase(seed)
		if c.hasCapSource() {
			continue // theirs grants them nothing
		}
		ours, _ := filter.Compile(c.config)
		matches, _ := tsfilter.MatchesFromFilterRules(c.theirRules())
		theirs := tsfilter.New(matches, nil, nil, nil, nil, logger.Discard)
		for _, src := range addrs {
			for _, dst := range addrs {
				equal(t, fmt.Sprintf("what %v may at %v by the rules of seed %d", src, dst, seed),
					capTexts(ours.Caps(src, dst)), theirCapTexts(theirs.CapsWithValues(src, dst)))
			}
		}
	}
}

// capTexts makes capabilities comparable: theirs repeats a value when several
// of a grant's destinations fit.
func capTexts(caps map[string][]json.RawMessage) map[string][]string {
	texts := make(map[string][]string)
	for name, values := range caps {
		texts[name] = []string{}
		for _, v := range values {
			texts[name] = append(texts[name], string(v))
		}
		slices.Sort(texts[name])
		texts[name] = slices.Compact(texts[name])
	}
	return texts
}

func theirCapTexts(caps tstailcfg.PeerCapMap) map[string][]string {
	ours := make(map[string][]json.RawMessage)
	for name, values := range caps {
		ours[string(name)] = nil
		for _, v := range values {
			ours[string(name)] = append(ours[string(name)], json.RawMessage(v))
		}
	}
	return capTexts(ours)
}

// ours reports whether our filter lets the packet in.
func (c filterCase) ours() bool {
	f, _ := filter.Compile(c.config)
	var flows filter.Flows
	if c.sent != nil {
		flows.RecordOutbound(filter.Parse(c.sent))
	}
	return f.Check(filter.Parse(c.packet), &flows).Accepted()
}

// theirs reports whether their filter lets the packet in; as in their node,
// another filter, without rules, is that for jailed peers.
func (c filterCase) theirs() bool {
	var local netipx.IPSetBuilder
	for _, p := range c.config.Local {
		local.AddPrefix(p)
	}
	localSet, _ := local.IPSet()
	matches, _ := tsfilter.MatchesFromFilterRules(c.theirRules())
	f := tsfilter.New(matches, c.sourceHasCap, localSet, nil, nil, logger.Discard)

	var in packet.Parsed
	in.Decode(c.packet)
	if peer := c.peer(in.Src.Addr()); peer != nil && peer.IsJailed {
		f = tsfilter.NewShieldsUpFilter(localSet, nil, nil, logger.Discard)
	}
	if c.sent != nil {
		var out packet.Parsed
		out.Decode(c.sent)
		f.RunOut(&out, 0)
	}
	return f.RunIn(&in, 0) == tsfilter.Accept
}

func (c filterCase) sourceHasCap(src netip.Addr, name tstailcfg.NodeCapability) bool {
	peer := c.peer(src)
	if peer == nil {
		return false
	}
	_, ok := peer.CapMap[string(name)]
	return ok
}

func (c filterCase) peer(addr netip.Addr) *tailcfg.Node {
	for _, p := range c.config.Peers {
		if slices.ContainsFunc(p.Addresses, func(a netip.Prefix) bool { return a.Addr() == addr }) {
			return p
		}
	}
	return nil
}

func (c filterCase) theirRules() (rules []tstailcfg.FilterRule) {
	text, err := json.Marshal(c.config.Rules)
	if err == nil {
		err = json.Unmarshal(text, &rules)
	}
	if err != nil {
		panic(err)
	}
	return rules
}

func (c filterCase) isICMP() bool {
	p := filter.Parse(c.packet)
	return p.Proto == protoICMP || p.Proto == protoICMPv6
}

func (c filterCase) isPortless() bool {
	p := filter.Parse(c.packet)
	return p.Proto != protoTCP && p.Proto != protoUDP && p.Proto != protoSCTP
}

// hasICMPType is of IPv4 without options.
func (c filterCase) hasICMPType(kind byte) bool { return len(c.packet) > 20 && c.packet[20] == kind }

func (c filterCase) hasCapSource() bool {
	return slices.ContainsFunc(c.config.Rules, func(r tailcfg.FilterRule) bool {
		return slices.ContainsFunc(r.SrcIPs, func(s string) bool { return strings.HasPrefix(s, "cap:") })
	})
}

func (c filterCase) hasEmptyPorts() bool {
	return slices.ContainsFunc(c.config.Rules, func(r tailcfg.FilterRule) bool {
		return slices.ContainsFunc(r.DstPorts, func(d tailcfg.NetPortRange) bool { return d.Ports.First > d.Ports.Last })
	})
}

// headerSays returns the length that the IP header gives.
func (c filterCase) headerSays() int {
	switch b := c.packet; {
	case len(b) >= 20 && b[0]>>4 == 4:
		return int(binary.BigEndian.Uint16(b[2:]))
	case len(b) >= 40 && b[0]>>4 == 6:
		return 40 + int(binary.BigEndian.Uint16(b[4:]))
	}
	return len(c.packet)
}

// What the cases are made of.
const (
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoFragment = 44
	protoGRE      = 47
	protoICMPv6   = 58
	protoTSMP     = 99
	protoSCTP     = 132
)

var (
	self4, self6   = netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("fd7a:115c:a1e0::1")
	peerA4, peerA6 = netip.MustParseAddr("100.64.0.2"), netip.MustParseAddr("fd7a:115c:a1e0::2") // has capability a
	peerB4, peerB6 = netip.MustParseAddr("100.64.0.3"), netip.MustParseAddr("fd7a:115c:a1e0::3") // may be jailed
	stranger4      = netip.MustParseAddr("192.0.2.1")
	stranger6      = netip.MustParseAddr("2001:db8::1")

	allowAll = tailcfg.FilterRule{SrcIPs: []string{"*"}, DstPorts: to("*", 0, 65535)}
)

func to(ip string, first, last uint16) []tailcfg.NetPortRange {
	return []tailcfg.NetPortRange{{IP: ip, Ports: tailcfg.PortRange{First: first, Last: last}}}
}

// filterConfig has rules, our addresses, and two peers.
func filterConfig(rules ...tailcfg.FilterRule) filter.Config {
	return filter.Config{
		Rules: rules,
		Local: []netip.Prefix{netip.PrefixFrom(self4, 32), netip.PrefixFrom(self6, 128)},
		Peers: []*tailcfg.Node{
			{
				ID:        2,
				Addresses: []netip.Prefix{netip.PrefixFrom(peerA4, 32), netip.PrefixFrom(peerA6, 128)},
				CapMap:    map[string][]json.RawMessage{"a": nil},
			},
			{ID: 3, Addresses: []netip.Prefix{netip.PrefixFrom(peerB4, 32), netip.PrefixFrom(peerB6, 128)}},
		},
	}
}

// dice makes random choices that a seed determines.
type dice struct{ *rand.Rand }

func pick[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }

func (d dice) oneIn(n int) bool { return d.IntN(n) == 0 }

func newFilterCase(seed uint64) filterCase {
	d := dice{rand.New(rand.NewPCG(seed, 1))}
	var rules []tailcfg.FilterRule
	for range d.IntN(4) {
		rules = append(rules, d.rule())
	}
	c := filterCase{config: filterConfig(rules...)}
	if d.oneIn(3) {
		c.config.Local = append(c.config.Local, netip.MustParsePrefix("10.1.0.0/16"))
	}
	c.config.Peers[1].IsJailed = d.oneIn(3)

	src, dst, proto := d.somebody(), d.destination(), d.proto()
	sport, dport := d.port(), d.port()
	v := pick(d, 0, 0, 1) // IPv4 more often: it has more to go wrong
	c.packet = d.packet(proto, src[v], dst[v], sport, dport)
	if d.oneIn(2) {
		c.sent = d.packet(proto, dst[v], src[v], dport, sport)
	}
	return c
}

func (d dice) rule() (r tailcfg.FilterRule) {
	for range 1 + d.IntN(3) {
		r.SrcIPs = append(r.SrcIPs, d.addrText(true))
	}
	if d.oneIn(4) {
		r.CapGrant = []tailcfg.CapGrant{d.grant(), d.grant()}[:1+d.IntN(2)]
		return r
	}
	for range 1 + d.IntN(3) {
		ports := pick(d, [2]uint16{0, 65535}, [2]uint16{80, 80}, [2]uint16{22, 443}, [2]uint16{0, 0}, [2]uint16{443, 22})
		r.DstPorts = append(r.DstPorts, to(d.addrText(false), ports[0], ports[1])...)
	}
	r.IPProto = pick(d, nil, nil, []int{}, []int{protoTCP}, []int{protoUDP}, []int{protoICMP, protoICMPv6},
		[]int{protoSCTP}, []int{protoGRE, 2}, []int{protoTCP, 300, -1}, []int{1, 6, 17, 47, 58, 99, 132})
	return r
}

func (d dice) grant() tailcfg.CapGrant {
	return tailcfg.CapGrant{
		Dsts: pick(d,
			[]netip.Prefix{netip.MustParsePrefix("100.64.0.1/32")},
			[]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
			[]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.0.0.0/8")}),
		Caps:   pick(d, nil, []string{"plain"}, []string{"plain", "example.com/cap/x"}),
		CapMap: pick(d, nil, map[string][]json.RawMessage{"example.com/cap/x": {json.RawMessage(`{"n":1}`), json.RawMessage(`2`)}}),
	}
}

// addrText is what may stand in a rule for addresses, and what may not.
func (d dice) addrText(source bool) string {
	texts := []string{"*", "*", "100.64.0.0/10", "100.64.0.2", "100.64.0.1", "fd7a:115c:a1e0::2", "fd7a:115c:a1e0::/48",
		"100.64.0.2-100.64.0.3", "fd7a:115c:a1e0::1-fd7a:115c:a1e0::2", "192.0.2.0/24", "10.1.0.0/16", "0.0.0.0/0", "::/0",
		"", "nonsense", "100.64.0.1/8", "100.64.0.9-100.64.0.1", "100.64.0.1-::1", "1-2-3", "*-*"}
	if source {
		texts = append(texts, "cap:a", "cap:nobody-has")
	}
	return pick(d, texts...)
}

// somebody is the IPv4 and the IPv6 address of one who may send. That a peer
// sends from its own addresses only is not the filter's business.
func (d dice) somebody() [2]netip.Addr {
	return pick(d,
		[2]netip.Addr{self4, self6}, [2]netip.Addr{self4, self6},
		[2]netip.Addr{peerA4, peerA6}, [2]netip.Addr{peerB4, peerB6},
		[2]netip.Addr{stranger4, stranger6},
		[2]netip.Addr{netip.MustParseAddr("10.1.2.3"), stranger6})
}

// destination is somebody, more often us, or a group of receivers.
func (d dice) destination() [2]netip.Addr {
	return pick(d, d.somebody(), d.somebody(),
		[2]netip.Addr{self4, self6}, [2]netip.Addr{self4, self6},
		[2]netip.Addr{netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("ff02::1")},
		[2]netip.Addr{netip.MustParseAddr("169.254.1.1"), netip.MustParseAddr("fe80::1")})
}

func (d dice) proto() byte {
	return pick[byte](d, protoTCP, protoTCP, protoUDP, protoUDP, protoICMP, protoICMPv6, protoTSMP, protoSCTP, protoGRE, 2, 0, 255)
}

func (d dice) port() uint16 { return pick[uint16](d, 0, 22, 80, 443, 1024) }

func (d dice) packet(proto byte, src, dst netip.Addr, sport, dport uint16) []byte {
	payload := make([]byte, 20+d.IntN(20))
	switch proto {
	case protoTCP:
		payload[12] = 0x50
		payload[13] = pick[byte](d, 0x02, 0x02, 0x12, 0x10, 0x18, 0x04, 0x00, 0xc2)
		fallthrough
	case protoUDP, protoSCTP:
		binary.BigEndian.PutUint16(payload, sport)
		binary.BigEndian.PutUint16(payload[2:], dport)
	case protoICMP, protoICMPv6:
		payload[0] = pick[byte](d, 0, 8, 3, 11, 12, 128, 129, 1, 2, 4, 5, 135)
		payload[1] = pick[byte](d, 0, 0, 1)
	case protoTSMP:
		payload[0] = pick[byte](d, 'p', 'o', '!', 'x')
	}
	if d.oneIn(8) {
		payload = payload[:d.IntN(len(payload))]
	}
	if src.Is6() {
		return d.maybeCut(ip6(proto, src, dst, payload))
	}
	fragment := uint16(0)
	if d.oneIn(4) {
		fragment = pick[uint16](d, 0x4000, 0x2000, 1, 9, 10, 0x200a, 0x1fff)
	}
	return d.maybeCut(ip4(proto, src, dst, fragment, payload))
}

func (d dice) maybeCut(b []byte) []byte {
	if d.oneIn(20) {
		return b[:d.IntN(len(b))]
	}
	return b
}

// ip4 makes an IPv4 packet; fragment is its flags and offset.
func ip4(proto byte, src, dst netip.Addr, fragment uint16, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(b[6:], fragment)
	b[8], b[9] = 64, proto
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	return append(b, payload...)
}

func ip6(proto byte, src, dst netip.Addr, payload []byte) []byte {
	b := make([]byte, 40, 40+len(payload))
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	b[6], b[7] = proto, 64
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	return append(b, payload...)
}

func echoRequest() []byte { return []byte{8, 0, 0, 0, 0, 0, 0, 0} }

func withLength4(b []byte, n uint16) []byte {
	binary.BigEndian.PutUint16(b[2:], n)
	return b
}

func withFirstByte(b []byte, first byte) []byte {
	b[0] = first
	return b
}
