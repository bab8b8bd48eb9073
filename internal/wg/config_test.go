package wg

import (
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet/internal/psk"
	"github.com/meshnet-go/meshnet/key"
)

func testKey(b byte) key.NodePublic {
	raw := [key.Size]byte{0: b, 31: 1}
	return key.NodePublicFromRaw32(raw)
}

func prefixes(text string) (list []netip.Prefix) {
	for s := range strings.FieldsSeq(text) {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func with(text string) settings { return settings{prefixes: prefixes(text)} }

func TestDiff(t *testing.T) {
	a, b, c := testKey(1), testKey(2), testKey(3)
	secret := psk.Key{1}
	for _, tt := range []struct {
		name      string
		old, want config
		text      string
	}{
		{"nothing to nothing", nil, config{}, ""},
		{"a new peer gets its endpoint where it is created", nil, config{a: with("100.64.0.1/32 fd7a::1/128")},
			"public_key=A endpoint=A allowed_ip=100.64.0.1/32 allowed_ip=fd7a::1/128"},
		{"a new peer without addresses", nil, config{a: {}}, "public_key=A endpoint=A"},
		{"no change", config{a: with("100.64.0.1/32")}, config{a: with("100.64.0.1/32")}, ""},
		{"no prefixes either way", config{a: {}}, config{a: {}}, ""},
		{"a peer is removed", config{a: {}, b: {}}, config{b: {}}, "public_key=A remove=true"},
		{"all are removed", config{a: {}, b: {}}, nil, "public_key=A remove=true public_key=B remove=true"},
		{"prefixes change", config{a: with("100.64.0.1/32")}, config{a: with("100.64.0.1/32 10.0.0.0/8")},
			"public_key=A replace_allowed_ips=true allowed_ip=100.64.0.1/32 allowed_ip=10.0.0.0/8"},
		{"prefixes go", config{a: with("100.64.0.1/32")}, config{a: {}}, "public_key=A replace_allowed_ips=true"},
		{"a route moves", config{a: with("10.0.0.0/8"), b: {}}, config{a: {}, b: with("10.0.0.0/8")},
			"public_key=A replace_allowed_ips=true public_key=B replace_allowed_ips=true allowed_ip=10.0.0.0/8"},
		{"a new key for an address", config{b: with("100.64.0.1/32")}, config{a: with("100.64.0.1/32")},
			"public_key=B remove=true public_key=A endpoint=A allowed_ip=100.64.0.1/32"},
		{"a peer with a preshared key", nil, config{a: {prefixes("100.64.0.1/32"), secret}}, "public_key=A endpoint=A preshared_key=SECRET allowed_ip=100.64.0.1/32"},
		{"a preshared key changes", config{a: with("100.64.0.1/32")}, config{a: {prefixes("100.64.0.1/32"), secret}}, "public_key=A preshared_key=SECRET"},
		{"and goes", config{a: {preshared: secret}}, config{a: {}}, "public_key=A preshared_key=NONE"},
		{"a peer falls asleep in another's range", config{a: with("0.0.0.0/0"), b: with("10.0.0.1/32")}, config{a: with("0.0.0.0/0"), nobody: with("10.0.0.1/32")},
			"public_key=NOBODY allowed_ip=10.0.0.1/32 public_key=B remove=true"},
		{"and wakes while another falls asleep", config{b: with("0.0.0.0/0"), c: with("10.0.0.2/32"), nobody: with("10.0.0.1/32")}, config{a: with("10.0.0.1/32"), b: with("0.0.0.0/0"), nobody: with("10.0.0.2/32")},
			"public_key=NOBODY allowed_ip=10.0.0.2/32 public_key=C remove=true public_key=A endpoint=A allowed_ip=10.0.0.1/32 public_key=NOBODY allowed_ip=-10.0.0.1/32"},
		{"nobody is needed no more", config{nobody: with("10.0.0.1/32")}, config{a: with("10.0.0.1/32")},
			"public_key=A endpoint=A allowed_ip=10.0.0.1/32 public_key=NOBODY remove=true"},
		{"only what changed is said", config{a: {}, b: with("10.0.0.1/32"), c: {}}, config{b: with("10.0.0.1/32"), c: with("10.0.0.2/32")},
			"public_key=A remove=true public_key=C replace_allowed_ips=true allowed_ip=10.0.0.2/32"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			names := strings.NewReplacer(nobody.Hex(), "NOBODY", hex.EncodeToString(secret[:]), "SECRET", strings.Repeat("0", 64), "NONE", a.Hex(), "A", b.Hex(), "B", c.Hex(), "C", "\n", " ")
			if got := strings.TrimSpace(names.Replace(diff(tt.old, tt.want))); got != tt.text {
				t.Errorf("diff:\n got %s\nwant %s", got, tt.text)
			}
		})
	}
}

func TestNewConfig(t *testing.T) {
	self, a, b := testKey(9), testKey(1), testKey(2)
	got := newConfig([]Peer{
		{Key: self, AllowedIPs: prefixes("100.64.0.9/32")},
		{AllowedIPs: prefixes("100.64.0.8/32")},
		{Key: a, Preshared: psk.Key{2}, AllowedIPs: []netip.Prefix{
			netip.MustParsePrefix("fd7a::1/128"),
			netip.MustParsePrefix("10.1.2.3/8"),
			{},
			netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 99),
		}},
		{Key: b, AllowedIPs: prefixes("10.0.0.0/8 100.64.0.2/32 100.64.0.2/32")},
		{Key: a, AllowedIPs: prefixes("100.64.0.1/32")},
	}, self)
	want := config{a: {prefixes("10.0.0.0/8 100.64.0.1/32 fd7a::1/128"), psk.Key{2}}, b: with("100.64.0.2/32")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("newConfig:\n got %v\nwant %v", got, want)
	}
}
