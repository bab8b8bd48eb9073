// Package policy is who may reach whom in a mesh: it reads the policy file, and
// makes of it the packet filter of each node and the set of peers that it sees.
//
// The file is in the form of Tailscale's and Headscale's policies, so that
// whoever outgrows this coordinator can move on with the same file. It is JSON,
// with comments and with commas behind last elements:
//
//	{
//		"groups":    {"group:dev": ["alice@example.com", "bob@"]},
//		"tagOwners": {"tag:web": ["group:dev"], "tag:ci": ["tag:web", "autogroup:admin"]},
//		"hosts":     {"db": "100.64.0.7", "office": "10.1.0.0/16"},
//		"acls": [
//			{"action": "accept", "src": ["group:dev"], "proto": "tcp", "dst": ["tag:web:22,80-90", "db:5432"]},
//			{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*", "autogroup:internet:*"]},
//		],
//		"grants": [
//			{"src": ["tag:ci"], "dst": ["office"], "ip": ["tcp:443", "udp:53", "icmp:*"]},
//			{"src": ["group:dev"], "dst": ["tag:web"], "app": {"example.com/cap/admin": [{"role": "owner"}]}},
//		],
//		"autoApprovers": {"routes": {"10.0.0.0/8": ["tag:web"]}, "exitNode": ["group:dev"]},
//		"tests": [{"src": "alice@example.com", "proto": "tcp", "accept": ["tag:web:22"], "deny": ["db:22"]}],
//	}
//
// Sources and destinations are:
//
//	"*"                    everybody; as a destination also all routes and exit nodes
//	"alice@example.com"    the user's nodes that have no tags; "bob@" is the user "bob"
//	"group:dev"            the nodes of the group's users that have no tags
//	"tag:web"              the nodes with the tag
//	"100.64.0.7"           an address: when it is a node's own, that node with all its addresses
//	"10.1.0.0/16"          addresses, of nodes or behind routers
//	"db"                   what "hosts" says
//	"autogroup:member"     the nodes that have no tags
//	"autogroup:tagged"     the nodes that have
//	"autogroup:admin"      the nodes of administrators ("autogroup:owner" is the same)
//	"autogroup:self"       destinations only: the nodes of the user who asks
//	"autogroup:internet"   destinations only: what is public, through exit nodes
//
// A rule without "proto" is for TCP, UDP and ICMP; and where any packet may go,
// ICMP may, because nodes do not look closer. Without "acls" and "grants" all
// may reach all; an empty list of either allows nothing. An exit node leads to
// the internet: a private network behind it must be advertised as a route.
//
// Not there: "ssh", "nodeAttrs", postures, "via", IP sets, and the autogroups
// not named above. Each is an error, so that no line of a file is without
// effect. Keys that begin with "#" are comments.
//
// A [Policy] is made by [Parse]. [Policy.Compile] makes a [Compiled] of it and
// of the nodes; [Compiled.View] is what one node is to be told.
// [Policy.Reaches] explains, from the rules themselves.
package policy

import (
	"net/netip"

	"go4.org/netipx"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// Policy is what a policy file says. It is immutable.
type Policy struct {
	groups    map[string]map[string]bool // "group:dev" → logins
	tagOwners map[string][]selector      // "tag:web" → users, groups, tags
	hosts     map[string]netip.Prefix
	rules     []*rule
	open      string // why all may reach all, or ""

	routes   []approver
	exitNode []selector

	internet *netipx.IPSet
	index    index
}

// rule lets sources reach destinations, or gives them capabilities there.
type rule struct {
	name  string // where it stands: "acls[3]"
	line  int
	src   []selector
	dst   []target
	allow []allow
	caps  capMap
}

// target is a destination of a rule.
type target struct {
	selector
	ports []tailcfg.PortRange // nil: those of the rule's allow
}

// portsOf returns the ports that a allows at t.
func (t *target) portsOf(a *allow) []tailcfg.PortRange {
	if t.ports != nil {
		return t.ports
	}
	return a.ports
}

// approver says whose routes within a prefix need no administrator.
type approver struct {
	prefix netip.Prefix
	by     []selector
}

// AllowAll returns the policy of a mesh that has no policy file: all may reach
// all, nobody but administrators may apply tags, no route is approved by
// itself.
func AllowAll() *Policy {
	p := newPolicy()
	p.allowAll("there is no policy")
	p.finish()
	return p
}

func newPolicy() *Policy {
	return &Policy{
		groups:    make(map[string]map[string]bool),
		tagOwners: make(map[string][]selector),
		hosts:     make(map[string]netip.Prefix),
		internet:  publicAddrs(),
	}
}

func (p *Policy) allowAll(why string) {
	p.open = why
	all := selector{kind: everyone}
	p.rules = []*rule{{
		name:  "default",
		src:   []selector{all},
		dst:   []target{{selector: all}},
		allow: []allow{{ports: []tailcfg.PortRange{allPorts}}},
	}}
}

// finish makes what compiling needs.
func (p *Policy) finish() { p.index = newIndex(p) }

// AllowsAll reports whether all may reach all because nothing else was said,
// and in a sentence why that is so.
func (p *Policy) AllowsAll() (why string, ok bool) {
	if p.open == "" {
		return "", false
	}
	return "every node may reach every other: " + p.open, true
}

// publicAddrs is what autogroup:internet stands for: all but private, local
// and the mesh's own addresses.
func publicAddrs() *netipx.IPSet {
	var b netipx.IPSetBuilder
	b.AddPrefix(netip.MustParsePrefix("0.0.0.0/0"))
	b.AddPrefix(netip.MustParsePrefix("2000::/3"))
	for _, private := range []string{
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
		"100.64.0.0/10",                 // the mesh's own
		"127.0.0.0/8", "169.254.0.0/16", // loopback and link-local
		"224.0.0.0/4", // multicast
	} {
		b.RemovePrefix(netip.MustParsePrefix(private))
	}
	set, _ := b.IPSet() // fails for invalid prefixes alone
	return set
}
