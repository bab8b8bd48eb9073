package filter

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

func TestCheck(t *testing.T) {
	f := compile(t, Config{
		Local: prefixes(me4+"/32", me6+"/128", "192.168.1.0/24"),
		Rules: []tailcfg.FilterRule{
			allow(from(peer4, peer6), "*", 22, 23),
			allow(from("100.64.0.3"), me4, 53, 53, protoUDP),
			allow(from("100.64.0.4"), me4, 0, 65535, 47, protoSCTP),
			allow(from("100.64.0.5"), me4, 0, 65534, 47),
			allow(from("100.64.1.0/24"), "192.168.1.10", 80, 80),
			allow(from("100.64.2.1-100.64.2.9"), "192.168.1.0-192.168.1.9", 80, 80),
			allow(from("cap:printer"), me4, 631, 631),
			allow(from("100.64.0.6"), me4, 443, 443, -1, 300),
			allow(nil, me4, 444, 444),
		},
		Peers: []*tailcfg.Node{
			{ID: 1, Addresses: prefixes("100.64.0.2/32", "fd7a::2/128"), CapMap: map[string][]json.RawMessage{"printer": nil}},
			nil,
			{ID: 2, Addresses: prefixes("100.64.0.66/32"), IsJailed: true, CapMap: map[string][]json.RawMessage{"printer": nil, "other": nil}},
			{ID: 3, Addresses: prefixes("100.64.0.3/32"), CapMap: map[string][]json.RawMessage{"other": nil}},
		},
	})
	flows := new(Flows)
	flows.RecordOutbound(Parse(udp(me4+":1000", "100.64.0.66:53")))
	for _, test := range []struct {
		name   string
		packet []byte
		want   Verdict
	}{
		{"an empty packet passes", nil, AcceptEmpty},
		{"19 bytes are dropped", make([]byte, 19), DropShort},
		{"what is not IP is dropped", make([]byte, 20), DropUnknown},
		{"multicast is dropped", udp(peer4+":1", "224.0.0.251:22"), DropMulticast},
		{"IPv6 multicast is dropped", udp("["+peer6+"]:1", "[ff02::1]:22"), DropMulticast},
		{"a packet to a link-local address is dropped", syn(peer4+":1", "169.254.0.1:22"), DropLinkLocal},
		{"a packet to an IPv6 link-local address is dropped", syn("["+peer6+"]:1", "[fe80::1]:22"), DropLinkLocal},
		{"a later fragment passes", edit(tcp(peer4+":1", me4+":2"), 6, 0, 10), AcceptFragment},
		{"a packet that is not for us is dropped", syn(peer4+":1", "100.64.0.9:22"), DropNotLocal},
		{"not even answers pass that are not for us", portless(protoICMP, peer4, "100.64.0.9", 0), DropNotLocal},
		{"a packet to a route that we advertise is for us", syn(peer4+":1", "192.168.1.7:22"), AcceptRule},
		{"the loopback address is not ours", syn(peer4+":1", "127.0.0.1:22"), DropNotLocal},
		{"a mapped address is not ours", syn("["+peer6+"]:1", "[::ffff:100.64.0.1]:22"), DropNotLocal},

		{"an allowed connection may start", syn(peer4+":1", me4+":22"), AcceptRule},
		{"the last port of a range is in it", syn(peer4+":1", me4+":23"), AcceptRule},
		{"over IPv6 too", syn("["+peer6+"]:1", "["+me6+"]:22"), AcceptRule},
		{"a port behind the range is not allowed", syn(peer4+":1", me4+":24"), DropNoRule},
		{"the source port does not count", syn(peer4+":22", me4+":24"), DropNoRule},
		{"a peer without a rule may not connect", syn("100.64.0.9:1", me4+":22"), DropNoRule},
		{"a packet of a connection passes", tcp("100.64.0.9:1", me4+":22"), AcceptAnswer},
		{"a rule without protocols is for UDP too", udp(peer4+":1", me4+":22"), AcceptRule},
		{"but not for SCTP", between(protoSCTP, peer4+":1", me4+":22"), DropNoRule},
		{"a rule for UDP allows UDP", udp("100.64.0.3:1", me4+":53"), AcceptRule},
		{"a rule for UDP does not allow TCP", syn("100.64.0.3:1", me4+":53"), DropNoRule},
		{"a rule for SCTP allows SCTP", between(protoSCTP, "100.64.0.4:1", me4+":9"), AcceptRule},
		{"a prefix as source", syn("100.64.1.77:1", "192.168.1.10:80"), AcceptRule},
		{"an address beside the prefix", syn("100.64.3.0:1", "192.168.1.10:80"), DropNoRule},
		{"another destination than the rule's", syn("100.64.1.77:1", "192.168.1.11:80"), DropNoRule},
		{"ranges as source and destination", syn("100.64.2.9:1", "192.168.1.9:80"), AcceptRule},
		{"an address behind the range", syn("100.64.2.10:1", "192.168.1.9:80"), DropNoRule},
		{"a rule whose protocols are none allows nothing", syn("100.64.0.6:1", me4+":443"), DropNoRule},
		{"a rule without sources allows nothing", syn("100.64.0.6:1", me4+":444"), DropNoRule},

		{"a peer with the capability may connect", syn(peer4+":1", me4+":631"), AcceptRule},
		{"a peer with another capability may not", syn("100.64.0.3:1", me4+":631"), DropNoRule},

		{"an echo request passes where anything does", portless(protoICMP, "100.64.0.3", me4, 8), AcceptRule},
		{"even where the rule is for other protocols", portless(protoICMP, "100.64.0.4", me4, 8), AcceptRule},
		{"not where nothing does", portless(protoICMP, "100.64.0.9", me4, 8), DropNoRule},
		{"not to an address that no rule names", portless(protoICMP, "100.64.0.3", "192.168.1.1", 8), DropNoRule},
		{"an echo reply passes", portless(protoICMP, "100.64.0.9", me4, 0), AcceptAnswer},
		{"an error passes", portless(protoICMPv6, "fd7a::9", me6, 1), AcceptAnswer},
		{"a neighbour solicitation needs a rule", portless(protoICMPv6, "fd7a::9", me6, 135), DropNoRule},

		{"TSMP passes", portless(protoTSMP, "100.64.0.9", me4), AcceptTSMP},
		{"GRE passes by a rule for it and all ports", portless(47, "100.64.0.4", me4), AcceptRule},
		{"GRE does not pass by a rule for some ports", portless(47, "100.64.0.5", me4), DropNoRule},
		{"GRE does not pass by a rule that does not name it", portless(47, peer4, me4), DropNoRule},

		{"a jailed peer may not connect", syn("100.64.0.66:1", me4+":631"), DropJailed},
		{"a jailed peer may not send datagrams", udp("100.64.0.66:1", me4+":631"), DropJailed},
		{"a jailed peer may not ping", portless(protoICMP, "100.64.0.66", me4, 8), DropJailed},
		{"a jailed peer may answer a datagram", udp("100.64.0.66:53", me4+":1000"), AcceptFlow},
		{"a jailed peer may answer a connection", tcp("100.64.0.66:1", me4+":631"), AcceptAnswer},
		{"a jailed peer may answer a ping", portless(protoICMP, "100.64.0.66", me4, 0), AcceptAnswer},
		{"a jailed peer may use TSMP", portless(protoTSMP, "100.64.0.66", me4), AcceptTSMP},
	} {
		got := f.Check(Parse(test.packet), flows)
		if got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
		if !strings.HasPrefix(got.String(), map[bool]string{true: "accept", false: "drop"}[got.Accepted()]) {
			t.Errorf("%v is accepted: %v", got, got.Accepted())
		}
	}
}

func TestNoFilterDropsEverything(t *testing.T) {
	var none *Filter
	noRules := compile(t, Config{Local: prefixes(me4 + "/32")})
	noLocal := compile(t, Config{Rules: []tailcfg.FilterRule{allow(from("*"), "*", 0, 65535)}})
	for _, packet := range [][]byte{
		syn(peer4+":1", me4+":22"),
		tcp(peer4+":1", me4+":22"),
		udp(peer4+":1", me4+":22"),
		portless(protoICMP, peer4, me4, 0),
		portless(protoTSMP, peer4, me4),
		edit(tcp(peer4+":1", me4+":2"), 6, 0, 10),
		nil,
	} {
		p := Parse(packet)
		if got := none.Check(p, nil); got != DropNoFilter {
			t.Errorf("the nil filter says %v of %x", got, packet)
		}
		if got := new(Filter).Check(p, nil); got != DropNoFilter {
			t.Errorf("the zero filter says %v of %x", got, packet)
		}
		if got := noLocal.Check(p, nil); got.Accepted() {
			t.Errorf("a filter without local addresses says %v of %x", got, packet)
		}
	}
	if got := noRules.Check(Parse(syn(peer4+":1", me4+":22")), nil); got != DropNoRule {
		t.Errorf("a filter without rules says %v of a connection", got)
	}
	if got := Verdict(0); got.Accepted() {
		t.Error("the zero verdict accepts")
	}
}

func TestBadEntriesAreSkipped(t *testing.T) {
	rule := tailcfg.FilterRule{
		SrcIPs: []string{"bogus", peer4, "10.0.0.1/8"},
		DstPorts: []tailcfg.NetPortRange{
			{IP: "cap:x", Ports: tailcfg.PortRange{First: 1, Last: 9}},
			{IP: me4, Ports: tailcfg.PortRange{First: 9, Last: 1}},
			{IP: me4, Ports: tailcfg.PortRange{First: 22, Last: 22}},
		},
	}
	f, err := Compile(Config{Local: prefixes(me4 + "/32"), Rules: []tailcfg.FilterRule{rule}})
	if err == nil {
		t.Fatal("four bad entries give no error")
	}
	for _, want := range []string{`"bogus"`, "10.0.0.1/8", `"cap:x"`, "from 9 to 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not speak of %s: %v", want, err)
		}
	}
	if got := f.Check(Parse(syn(peer4+":1", me4+":22")), nil); got != AcceptRule {
		t.Errorf("the good entries of the rule say %v", got)
	}
}

func TestErrorIsBounded(t *testing.T) {
	rule := tailcfg.FilterRule{SrcIPs: make([]string, 10_000)}
	for i := range rule.SrcIPs {
		rule.SrcIPs[i] = strings.Repeat("x", 1000)
	}
	_, err := Compile(Config{Rules: []tailcfg.FilterRule{rule}})
	if err == nil || len(err.Error()) > 2000 || !strings.Contains(err.Error(), "and 9990 more") {
		t.Errorf("10,000 long bad entries give the error %.3000v", err)
	}
}

// TestSharedSourcesAreNotCopied would not end, or run out of memory, if every
// rule kept the peers that it is for.
func TestSharedSourcesAreNotCopied(t *testing.T) {
	c := Config{Local: prefixes(me4 + "/32")}
	for i := range 20_000 {
		c.Peers = append(c.Peers, &tailcfg.Node{
			Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 65, byte(i >> 7), byte(i << 1)}), 32)},
			CapMap:    map[string][]json.RawMessage{"printer": nil},
		})
		c.Rules = append(c.Rules, allow(from("cap:printer"), me4, 631, 631))
	}
	if got := compile(t, c).Check(Parse(syn("100.65.0.4:1", me4+":631")), nil); got != AcceptRule {
		t.Errorf("a peer with the capability: %v", got)
	}
}

func TestCompileKeepsNothingOfTheRules(t *testing.T) {
	rules := []tailcfg.FilterRule{allow(from("*"), "*", 0, 65535)}
	local := prefixes(me4 + "/32")
	f := compile(t, Config{Local: local, Rules: rules})
	rules[0].DstPorts[0].Ports = tailcfg.PortRange{}
	rules[0].SrcIPs[0] = "1.1.1.1"
	local[0] = netip.Prefix{}
	if got := f.Check(Parse(syn(peer4+":1", me4+":22")), nil); got != AcceptRule {
		t.Errorf("after the rules were overwritten the filter says %v", got)
	}
}

func TestCaps(t *testing.T) {
	values := func(list ...string) (vs []json.RawMessage) {
		for _, s := range list {
			vs = append(vs, json.RawMessage(s))
		}
		return vs
	}
	grant := func(src, dst, name string, vs ...string) tailcfg.FilterRule {
		return tailcfg.FilterRule{SrcIPs: from(src), CapGrant: []tailcfg.CapGrant{{
			Dsts: prefixes(dst), CapMap: map[string][]json.RawMessage{name: values(vs...)},
		}}}
	}
	plain := grant("100.64.0.0/16", me4+"/32", "b")
	plain.CapGrant[0].Caps = []string{"b", "plain", ""}
	plain.CapGrant[0].Dsts = prefixes(me4+"/32", "100.64.0.0/10")
	f := compile(t, Config{
		Rules: []tailcfg.FilterRule{
			grant(peer4, me4+"/32", "a", "1", "2"),
			grant("*", "100.64.0.0/10", "a", "3"),
			grant(peer4, "100.64.0.9/32", "elsewhere", "1"),
			grant("100.64.0.9", me4+"/32", "not-for-me", "1"),
			grant("cap:printer", me4+"/32", "by-cap", "1"),
			grant("*", me4+"/32", capIngress),
			plain,
		},
		Peers: []*tailcfg.Node{
			{Addresses: prefixes(peer4 + "/32"), CapMap: map[string][]json.RawMessage{"printer": nil}},
			{Addresses: prefixes("100.64.0.77/32"), UnsignedPeerAPIOnly: true},
		},
	})
	for _, test := range []struct {
		name, src, dst string
		want           map[string][]json.RawMessage
	}{
		{
			"the grants of all rules add up, in their order", peer4, me4,
			map[string][]json.RawMessage{"a": values("1", "2", "3"), "b": nil, "plain": nil, "by-cap": values("1"), capIngress: nil},
		},
		{"at another destination others apply", "1.1.1.1", "100.64.0.9", map[string][]json.RawMessage{"a": values("3")}},
		{"an unsigned peer may hold one capability only", "100.64.0.77", me4, map[string][]json.RawMessage{capIngress: nil}},
		{"at an unknown destination none applies", peer4, "10.0.0.1", map[string][]json.RawMessage{}},
	} {
		if got := f.Caps(netip.MustParseAddr(test.src), netip.MustParseAddr(test.dst)); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}

	var none *Filter
	if got := none.Caps(netip.MustParseAddr(peer4), netip.MustParseAddr(me4)); len(got) != 0 {
		t.Errorf("the nil filter grants %s", got)
	}
	first := f.Caps(netip.MustParseAddr(peer4), netip.MustParseAddr(me4))
	first["a"][0] = values("9")[0]
	delete(first, "b")
	if got := f.Caps(netip.MustParseAddr(peer4), netip.MustParseAddr(me4)); string(got["a"][0]) != "1" || len(got) != 5 {
		t.Errorf("a caller changed the filter: it now grants %s", got)
	}
}

func FuzzCheck(f *testing.F) {
	for _, packet := range [][]byte{
		syn(peer4+":1", me4+":22"), udp("["+peer6+"]:1", "["+me6+"]:22"), portless(protoICMP, peer4, me4, 8),
		fragment6(tcp("["+peer6+"]:1", "["+me6+"]:22"), 0, true), edit(tcp(peer4+":1", me4+":2"), 6, 0, 10),
	} {
		f.Add(packet)
	}
	open, err := Compile(Config{
		Local: prefixes(me4+"/32", me6+"/128"),
		Rules: []tailcfg.FilterRule{allow(from("*"), "*", 0, 65535)},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := Parse(b)
		flows := new(Flows)
		flows.RecordOutbound(p)
		v := open.Check(p, flows)
		if dst := p.Dst.Addr(); v.Accepted() && v != AcceptEmpty && v != AcceptFragment &&
			dst != netip.MustParseAddr(me4) && dst != netip.MustParseAddr(me6) {
			t.Errorf("%v for a packet to %v", v, dst)
		}
		var none *Filter
		if v := none.Check(p, flows); v.Accepted() {
			t.Errorf("%v without a filter", v)
		}
	})
}

func FuzzCompile(f *testing.F) {
	f.Add([]byte(`[{"SrcIPs":["*","1.2.3.4","10.0.0.0/8","1.1.1.1-1.1.1.9","cap:x"],"DstPorts":[{"IP":"*","Ports":{"First":0,"Last":65535}}],"IPProto":[6,-1,999]}]`))
	f.Add([]byte(`[{"SrcIPs":["::-ffff::"],"CapGrant":[{"Dsts":["100.64.0.1/32"],"CapMap":{"a":[1]},"Caps":["b"]}]}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var rules []tailcfg.FilterRule
		if json.Unmarshal(b, &rules) != nil {
			return
		}
		flt, _ := Compile(Config{Local: prefixes(me4 + "/32"), Rules: rules})
		flt.Check(Parse(syn(peer4+":1", me4+":22")), nil) // must not panic
		flt.Caps(netip.MustParseAddr(peer4), netip.MustParseAddr(me4))
	})
}

// busy is the filter of a node that 10,000 peers may reach, each by an entry
// of its own, behind 100 rules that do not match.
func busy(t testing.TB) *Filter {
	c := Config{Local: prefixes(me4 + "/32"), Peers: []*tailcfg.Node{
		{Addresses: prefixes("100.66.0.1/32"), CapMap: map[string][]json.RawMessage{"printer": nil}},
	}}
	for i := range 100 {
		c.Rules = append(c.Rules, allow(from("100.64.9.9"), me4, uint16(1000+i), uint16(1000+i)))
	}
	var srcs []string
	for i := range 10_000 {
		srcs = append(srcs, fmt.Sprintf("100.65.%d.%d", i/100, 2*(i%100)))
	}
	c.Rules = append(c.Rules, allow(srcs, me4, 80, 80), allow(from("cap:printer"), me4, 631, 631))
	return compile(t, c)
}

var checks = []struct {
	name   string
	packet []byte
	want   Verdict
}{
	{"syn", syn("100.65.99.198:1", me4+":80"), AcceptRule},
	{"syn-cap", syn("100.66.0.1:1", me4+":631"), AcceptRule},
	{"tcp", tcp("100.65.99.198:1", me4+":80"), AcceptAnswer},
	{"udp", udp(peer4+":53", me4+":1000"), AcceptFlow},
	{"udp-denied", udp(peer4+":54", me4+":1000"), DropNoRule},
}

func TestCheckAllocatesNothing(t *testing.T) {
	f, flows := busy(t), new(Flows)
	flows.RecordOutbound(Parse(udp(me4+":1000", peer4+":53")))
	for _, check := range checks {
		var got Verdict
		allocs := testing.AllocsPerRun(100, func() { got = f.Check(Parse(check.packet), flows) })
		if got != check.want || allocs != 0 {
			t.Errorf("%s: got %v with %v allocations, want %v with none", check.name, got, allocs, check.want)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	f, flows := busy(b), new(Flows)
	flows.RecordOutbound(Parse(udp(me4+":1000", peer4+":53")))
	for _, check := range checks {
		b.Run(check.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.Check(Parse(check.packet), flows)
			}
		})
	}
}

func BenchmarkRecordOutbound(b *testing.B) {
	flows, packet := new(Flows), udp(me4+":1000", peer4+":53")
	b.ReportAllocs()
	for b.Loop() {
		flows.RecordOutbound(Parse(packet))
	}
}
