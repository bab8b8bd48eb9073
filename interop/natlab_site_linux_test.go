package interop

import (
	"strconv"
	"strings"
	"testing"
)

// siteKind is what stands between a host and the internet.
type siteKind struct {
	name       string
	ip4, ip6   bool
	private    bool   // the host's IPv4 address is translated
	masquerade string // how, as nft says it
	forward    string // rules for packets that the router forwards
}

// stateful lets out everything, and in what belongs to it.
const stateful = `
	ct state established,related accept
	iifname lan accept`

// siteKinds are what there is in the laboratory. Linux keeps the port of a
// connection that it masquerades, while nobody else has it, so that every
// destination sees the same; as a NAT of RFC 4787 its mapping is independent of
// the endpoint, and its filtering depends on address and port.
var siteKinds = []siteKind{
	{name: "open", ip4: true, ip6: true, forward: "accept"},
	{name: "easy", ip4: true, private: true, masquerade: "masquerade", forward: stateful},
	{name: "hard", ip4: true, private: true, masquerade: "masquerade random,fully-random", forward: stateful},
	{name: "firewall", ip4: true, ip6: true, forward: stateful},
	{name: "ipv6", ip6: true, forward: stateful},
	{name: "no-udp", ip4: true, private: true, masquerade: "masquerade", forward: "meta l4proto udp drop" + stateful},
}

// A site is a host behind a router:
//
//	internet ── 44.0.n.1   44.0.n.2 ── router ── 192.168.n.1   192.168.n.2 ── host
//	        2001:db8:0:n::1   ::2             2001:db8:1:n::1   ::2
//
// where a host whose address is not translated has 44.1.n.2. The addresses are
// not those for documentation, which some software knows not to be public.
type site struct {
	siteKind
	host *namespace
}

// newSite makes a site and connects it to the internet.
func newSite(t *testing.T, internet *namespace, kind siteKind, number int) *site {
	t.Helper()
	s := &site{siteKind: kind, host: newNamespace(t)}
	router := newNamespace(t)
	router.set(t, "ipv4/ip_forward", "1")
	router.set(t, "ipv6/conf/all/forwarding", "1")
	router.feed(t, s.rules(), "nft", "-f", "-")

	fill := strings.NewReplacer("{n}", strconv.Itoa(number), "{router}", router.path, "{host}", s.host.path)
	onInternet, onRouter, onHost := s.wiring()
	internet.feed(t, fill.Replace(onInternet), "ip", "-batch", "-")
	router.feed(t, fill.Replace(onRouter), "ip", "-batch", "-")
	s.host.feed(t, fill.Replace(onHost), "ip", "-batch", "-")
	return s
}

// wiring returns commands for ip in the three namespaces, to be run in this
// order.
func (s *site) wiring() (internet, router, host string) {
	internet = `
		link add site{n} type veth peer name wan netns {router}
		link set site{n} up`
	router = `
		link add lan type veth peer name eth0 netns {host}
		link set wan up
		link set lan up`
	host = `
		link set eth0 up`
	if s.ip4 {
		lan := "44.1.{n}"
		if s.private {
			lan = "192.168.{n}"
		}
		internet += `
		addr add 44.0.{n}.1/24 dev site{n}
		route add 44.1.{n}.0/24 via 44.0.{n}.2`
		router += `
		addr add 44.0.{n}.2/24 dev wan
		addr add ` + lan + `.1/24 dev lan
		route add default via 44.0.{n}.1`
		host += `
		addr add ` + lan + `.2/24 dev eth0
		route add default via ` + lan + `.1`
	}
	if s.ip6 {
		internet += `
		addr add 2001:db8:0:{n}::1/64 dev site{n} nodad
		route add 2001:db8:1:{n}::/64 via 2001:db8:0:{n}::2`
		router += `
		addr add 2001:db8:0:{n}::2/64 dev wan nodad
		addr add 2001:db8:1:{n}::1/64 dev lan nodad
		route add default via 2001:db8:0:{n}::1`
		host += `
		addr add 2001:db8:1:{n}::2/64 dev eth0 nodad
		route add default via 2001:db8:1:{n}::1`
	}
	return internet + "\n", router + "\n", host + "\n"
}

// rules returns what the router does, for nft. What nobody has asked for must
// be dropped where it comes in: an entry of it among the tracked connections
// would have the port that a host's own connection is to keep.
func (s *site) rules() string {
	masquerade := ""
	if s.masquerade != "" {
		masquerade = "oifname wan " + s.masquerade
	}
	return `
		table inet router {
			chain input {
				type filter hook input priority 0; policy drop
				meta l4proto { icmp, ipv6-icmp } accept
			}
			chain forward {
				type filter hook forward priority 0; policy drop
				` + s.forward + `
			}
			chain postrouting {
				type nat hook postrouting priority srcnat
				` + masquerade + `
			}
		}`
}
