package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// addrs parses addresses that are separated by spaces.
func addrs(s string) (list []netip.Addr) {
	for field := range strings.FieldsSeq(s) {
		list = append(list, netip.MustParseAddr(field))
	}
	return list
}

var config = Config{
	Suffix: "Tail.Example.com.",
	Hosts: []Name{
		{"me.tail.example.com.", addrs("100.64.0.1 fd7a::1")},
		{"Web.Tail.Example.com", addrs("fd7a::2 100.64.0.2")},
		{"six.tail.example.com.", addrs("fd7a::3")},
		{"web.tail.example.com.", addrs("100.64.0.66")},
		{"thief.tail.example.com.", addrs("100.64.0.2 ::ffff:100.64.0.4")},
		{"shared.other.example.net.", addrs("100.64.0.5")},
		{"empty.tail.example.com.", nil},
		{"bad name.tail.example.com.", addrs("100.64.0.99")},
		{"127.0.0.1.", addrs("100.64.0.99")},
	},
	Extra: []Name{
		{"db.tail.example.com", addrs("fd7a::10")},
		{"db.tail.example.com.", addrs("100.64.0.10")},
		{"DB.tail.example.com.", addrs("100.64.0.10")},
		{"wiki.corp.test", addrs("100.64.0.2")},
		{"me.tail.example.com.", addrs("192.0.2.1")},
		{"single", addrs("100.64.0.11")},
		{"..", addrs("100.64.0.99")},
	},
}

func TestLookup(t *testing.T) {
	table := New(config)
	for _, test := range []struct {
		name, lookup, want string // want "-": not found
	}{
		{"the full name", "me.tail.example.com", "100.64.0.1 fd7a::1"},
		{"the full name with a trailing dot", "me.tail.example.com.", "100.64.0.1 fd7a::1"},
		{"the full name in capitals", "ME.TAIL.EXAMPLE.COM", "100.64.0.1 fd7a::1"},
		{"the short name", "me", "100.64.0.1 fd7a::1"},
		{"the short name in capitals with a trailing dot", "Me.", "100.64.0.1 fd7a::1"},
		{"IPv4 comes first; the first of two hosts has the name", "web", "100.64.0.2 fd7a::2"},
		{"a host with IPv6 only", "six", "fd7a::3"},
		{"mapped addresses become IPv4", "thief", "100.64.0.2 100.64.0.4"},
		{"a host of another mesh", "shared.other.example.net", "100.64.0.5"},
		{"a host of another mesh has no short name", "shared", "-"},
		{"a host without addresses is found", "empty", ""},
		{"records of one name add up, doubles do not", "db.tail.example.com", "100.64.0.10 fd7a::10"},
		{"a record within the suffix has a short name", "db", "100.64.0.10 fd7a::10"},
		{"a record outside the suffix", "wiki.corp.test", "100.64.0.2"},
		{"a record outside the suffix has no short name", "wiki", "-"},
		{"a record of a single label", "single", "100.64.0.11"},
		{"an unknown name", "nobody", "-"},
		{"an unknown full name", "nobody.tail.example.com", "-"},
		{"the suffix itself", "tail.example.com", "-"},
		{"a name below a host", "x.me.tail.example.com", "-"},
		{"part of the suffix is not added", "me.tail", "-"},
		{"no name", "", "-"},
		{"a dot", ".", "-"},
		{"two trailing dots", "me..", "-"},
		{"a name that is not valid", "bad name", "-"},
		{"an address is not a name", "127.0.0.1", "-"},
		{"an IPv6 address is not a name", "fd7a::1", "-"},
	} {
		got, found := table.Lookup(test.lookup)
		if found != (test.want != "-") || found && !slices.Equal(got, addrs(test.want)) {
			t.Errorf("%s: %q has %v, %v, want %s", test.name, test.lookup, got, found, test.want)
		}
	}
}

func TestFullName(t *testing.T) {
	table := New(config)
	for name, want := range map[string]string{
		"me":                       "me.tail.example.com",
		"Me.Tail.Example.com.":     "me.tail.example.com",
		"shared.other.example.net": "shared.other.example.net",
		"shared":                   "",
		"empty":                    "empty.tail.example.com",
		"db":                       "", // a record is no host
		"wiki.corp.test":           "",
		"100.64.0.1":               "",
		"nobody":                   "",
		"":                         "",
	} {
		if got := table.FullName(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	if got := (*Table)(nil).FullName("me"); got != "" {
		t.Errorf("no table knows %q", got)
	}
}

func TestReverse(t *testing.T) {
	table := New(config)
	for _, test := range []struct{ name, addr, want string }{
		{"an address of a host", "100.64.0.1", "me.tail.example.com"},
		{"a second address of a host", "fd7a::1", "me.tail.example.com"},
		{"an address that two hosts and a record claim", "100.64.0.2", "web.tail.example.com"},
		{"an address in mapped form", "::ffff:100.64.0.4", "thief.tail.example.com"},
		{"an address of a record", "100.64.0.10", "db.tail.example.com"},
		{"an address of a host whose name was taken", "100.64.0.66", ""},
		{"an address of hosts without valid names", "100.64.0.99", ""},
	} {
		got, found := table.Reverse(netip.MustParseAddr(test.addr))
		if got != test.want || found != (test.want != "") {
			t.Errorf("%s: %s is %q, %v, want %q", test.name, test.addr, got, found, test.want)
		}
	}
}

func TestNoSuffix(t *testing.T) {
	table := New(Config{Hosts: []Name{{"a.example.com", addrs("100.64.0.1")}, {"b", addrs("100.64.0.2")}}})
	if got, found := table.Lookup("a"); found {
		t.Errorf("without a suffix the short name a has %v", got)
	}
	if got, found := table.Lookup("b"); !found || !slices.Equal(got, addrs("100.64.0.2")) {
		t.Errorf("a host of a single label has %v, %v", got, found)
	}
}

func TestAddressesOfANameAreBounded(t *testing.T) {
	table := New(Config{Hosts: []Name{{"a.example.com", make([]netip.Addr, 100_000)}}})
	if got, found := table.Lookup("a.example.com"); !found || len(got) != 0 {
		t.Errorf("a host with invalid addresses has %v, %v", got, found)
	}
	many := Config{}
	for _, host := range hosts(10_000) {
		many.Extra = append(many.Extra, Name{"a.example.com", host.Addrs})
	}
	if got, _ := New(many).Lookup("a.example.com"); len(got) != maxAddrs {
		t.Errorf("a name with 20,000 addresses has %d, want %d", len(got), maxAddrs)
	}
}

func TestNilTable(t *testing.T) {
	var table *Table
	if _, found := table.Lookup("a"); found {
		t.Error("the nil table knows a name")
	}
	if _, found := table.Reverse(netip.MustParseAddr("100.64.0.1")); found {
		t.Error("the nil table knows an address")
	}
	if table.Suffix() != "" {
		t.Error("the nil table has a suffix")
	}
}

func TestCanonical(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	for _, test := range []struct{ name, want string }{
		{"a", "a"},
		{"A-b_9.Example.", "a-b_9.example"},
		{long + ".x", long + ".x"},
		{long + "a.x", ""},
		{strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a"},
		{strings.Repeat("a.", 127) + "a", ""},
		{"-a", ""},
		{"a-.b", ""},
		{".a", ""},
		{"a..b", ""},
		{"a b", ""},
		{"a\x00", ""},
		{"@", ""},
		{"[", ""},
		{"`", ""},
		{"\x11", ""}, // '1' without the bit 0x20
		{"köln", ""},
		{"1.2.3.4", ""},
	} {
		if got, ok := canonical(test.name); got != test.want || ok != (test.want != "") {
			t.Errorf("%q becomes %q, %v, want %q", test.name, got, ok, test.want)
		}
	}
}

func TestSuffixOf(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"me.Tail.example.com.", "tail.example.com"},
		{"me.", ""},
		{"", ""},
		{".", ""},
	} {
		if got := SuffixOf(test.name); got != test.want {
			t.Errorf("the suffix of %q is %q, want %q", test.name, got, test.want)
		}
	}
}

func FuzzTable(f *testing.F) {
	f.Add("me.tail.example.com.", "tail.example.com", "me")
	f.Add("Ä.x", "", ".")
	f.Fuzz(func(t *testing.T, host, suffix, lookup string) {
		addr := netip.MustParseAddr("100.64.0.1")
		table := New(Config{Suffix: suffix, Hosts: []Name{{host, []netip.Addr{addr}}}})
		table.Lookup(lookup)
		if name, found := table.Reverse(addr); found {
			if got, _ := table.Lookup(name); !slices.Equal(got, []netip.Addr{addr}) {
				t.Errorf("%q is the name of %v, but has %v", name, addr, got)
			}
		}
	})
}

func hosts(n int) []Name {
	hosts := make([]Name, n)
	for i := range hosts {
		low := [2]byte{byte(i >> 8), byte(i)}
		hosts[i] = Name{
			Name: fmt.Sprintf("host-%d.tail.example.com.", i),
			Addrs: []netip.Addr{
				netip.AddrFrom4([4]byte{100, 64, low[0], low[1]}),
				netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x7a, 14: low[0], 15: low[1]}),
			},
		}
	}
	return hosts
}

func BenchmarkNew10000(b *testing.B) {
	config := Config{Suffix: "tail.example.com", Hosts: hosts(10_000)}
	b.ReportAllocs()
	for b.Loop() {
		New(config)
	}
}

func BenchmarkLookup(b *testing.B) {
	table := New(Config{Suffix: "tail.example.com", Hosts: hosts(10_000)})
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup("host-9999")
	}
}
