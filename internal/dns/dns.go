// Package dns answers the names of a mesh from a table: which addresses a name
// has, and which name an address has. It asks nobody.
//
// A name is looked up, in this order, as
//
//  1. the full name of a host;
//  2. a single label, with the mesh's own suffix behind it;
//  3. an extra record, which may lie outside of the suffix: the name itself,
//     then a single label with the suffix.
//
// These are the rules of MagicDNS in Tailscale (v1.102.5, net/tsdial and
// ipn/ipnlocal), as far as names within the mesh go. Literal addresses are for
// the caller to recognise first.
package dns

import (
	"net/netip"
	"slices"
	"strings"
)

// maxAddrs is how many addresses of one name are kept; the first ones are.
const maxAddrs = 64

// Name is a name and its addresses.
type Name struct {
	Name  string // in any case, with or without the trailing dot
	Addrs []netip.Addr
}

// Config is what a [Table] answers from. Names that are not valid, and
// addresses that are not, are left out.
type Config struct {
	// Suffix is what follows the first label in the names of the mesh's own
	// hosts, such as "tailnet.example.com". Empty: no short names.
	Suffix string
	// Hosts of the mesh. Of several with one name or address, the first has it.
	Hosts []Name
	// Extra records. Those of one name add up.
	Extra []Name
}

// Table answers look-ups. It is immutable; the nil Table knows no name.
type Table struct {
	suffix string
	hosts  map[string][]netip.Addr // by canonical name
	extra  map[string][]netip.Addr
	names  map[netip.Addr]string
}

// New makes a table. Config's slices are not kept.
func New(c Config) *Table {
	t := &Table{
		hosts: make(map[string][]netip.Addr, len(c.Hosts)),
		extra: make(map[string][]netip.Addr, len(c.Extra)),
		names: make(map[netip.Addr]string, 2*len(c.Hosts)),
	}
	t.suffix, _ = canonical(c.Suffix)
	for _, host := range c.Hosts {
		t.addHost(host)
	}
	for _, record := range c.Extra {
		t.addExtra(record)
	}
	return t
}

func (t *Table) addHost(host Name) {
	name, ok := canonical(host.Name)
	if _, taken := t.hosts[name]; !ok || taken {
		return
	}
	t.hosts[name] = appendAddrs(make([]netip.Addr, 0, min(len(host.Addrs), maxAddrs)), host.Addrs)
	t.addReverse(name, host.Addrs)
}

func (t *Table) addExtra(record Name) {
	name, ok := canonical(record.Name)
	if !ok {
		return
	}
	t.extra[name] = appendAddrs(t.extra[name], record.Addrs)
	t.addReverse(name, record.Addrs)
}

// appendAddrs appends those of addrs that are valid and new to dst, up to
// maxAddrs, and orders the whole: IPv4 first, the rest as given.
func appendAddrs(dst, addrs []netip.Addr) []netip.Addr {
	for _, addr := range addrs {
		addr = addr.Unmap()
		if len(dst) < maxAddrs && addr.IsValid() && !slices.Contains(dst, addr) {
			dst = append(dst, addr)
		}
	}
	slices.SortStableFunc(dst, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return dst
}

func (t *Table) addReverse(name string, addrs []netip.Addr) {
	for _, addr := range addrs {
		addr = addr.Unmap()
		if _, taken := t.names[addr]; addr.IsValid() && !taken {
			t.names[addr] = name
		}
	}
}

// Lookup returns the addresses of a name in any case, with or without the
// trailing dot: IPv4 before IPv6. It reports false for a name that is not of
// the mesh; a host without addresses is found. The slice belongs to the table.
func (t *Table) Lookup(name string) (addrs []netip.Addr, found bool) {
	name, ok := canonical(name)
	if t == nil || !ok {
		return nil, false
	}
	full := t.qualify(name)
	if addrs, found = t.hosts[name]; found {
		return addrs, true
	}
	if addrs, found = t.hosts[full]; found {
		return addrs, true
	}
	if addrs, found = t.extra[name]; found {
		return addrs, true
	}
	addrs, found = t.extra[full]
	return addrs, found
}

// FullName returns the full name, in the form of [Table.Reverse], of the host that
// a name means, or "" when it means none.
func (t *Table) FullName(name string) string {
	name, ok := canonical(name)
	if t == nil || !ok {
		return ""
	}
	for _, name := range []string{name, t.qualify(name)} {
		if _, found := t.hosts[name]; found {
			return name
		}
	}
	return ""
}

// qualify returns a single label with the suffix, and any other name as it is.
func (t *Table) qualify(name string) string {
	if t.suffix == "" || strings.Contains(name, ".") {
		return name
	}
	return name + "." + t.suffix
}

// Reverse returns the full name, in lower case and without the trailing dot,
// of an address: a host's before an extra record's.
func (t *Table) Reverse(addr netip.Addr) (name string, found bool) {
	if t == nil {
		return "", false
	}
	name, found = t.names[addr.Unmap()]
	return name, found
}

// Foreign reports whether a name that is not found may be one of another domain:
// it has more than one label, and is not within the suffix of the mesh.
func (t *Table) Foreign(name string) bool {
	name, ok := canonical(name)
	if !ok || !strings.Contains(name, ".") {
		return false
	}
	suffix := t.Suffix()
	return suffix == "" || name != suffix && !strings.HasSuffix(name, "."+suffix)
}

// Suffix returns the suffix of the mesh's own names in the form of [Table.Reverse].
func (t *Table) Suffix() string {
	if t == nil {
		return ""
	}
	return t.suffix
}
