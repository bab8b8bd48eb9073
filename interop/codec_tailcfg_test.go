package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	tstailcfg "tailscale.com/tailcfg"
	"tailscale.com/types/dnstype"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// tailcfgTypes pairs each JSON type of ours with the one of theirs.
var tailcfgTypes = []struct{ ours, theirs any }{
	{tailcfg.Node{}, tstailcfg.Node{}},
	{tailcfg.Hostinfo{}, tstailcfg.Hostinfo{}},
	{tailcfg.Service{}, tstailcfg.Service{}},
	{tailcfg.NetInfo{}, tstailcfg.NetInfo{}},
	{tailcfg.RegisterRequest{}, tstailcfg.RegisterRequest{}},
	{tailcfg.RegisterAuth{}, tstailcfg.RegisterResponseAuth{}},
	{tailcfg.RegisterResponse{}, tstailcfg.RegisterResponse{}},
	{tailcfg.User{}, tstailcfg.User{}},
	{tailcfg.Login{}, tstailcfg.Login{}},
	{tailcfg.UserProfile{}, tstailcfg.UserProfile{}},
	{tailcfg.MapRequest{}, tstailcfg.MapRequest{}},
	{tailcfg.MapResponse{}, tstailcfg.MapResponse{}},
	{tailcfg.PeerChange{}, tstailcfg.PeerChange{}},
	{tailcfg.DNSConfig{}, tstailcfg.DNSConfig{}},
	{tailcfg.Resolver{}, dnstype.Resolver{}},
	{tailcfg.DNSRecord{}, tstailcfg.DNSRecord{}},
	{tailcfg.FilterRule{}, tstailcfg.FilterRule{}},
	{tailcfg.NetPortRange{}, tstailcfg.NetPortRange{}},
	{tailcfg.PortRange{}, tstailcfg.PortRange{}},
	{tailcfg.CapGrant{}, tstailcfg.CapGrant{}},
	{tailcfg.PingRequest{}, tstailcfg.PingRequest{}},
	{tailcfg.PingResponse{}, tstailcfg.PingResponse{}},
	{tailcfg.TKAInfo{}, tstailcfg.TKAInfo{}},
	{tailcfg.Debug{}, tstailcfg.Debug{}},
	{derpmap.Map{}, tstailcfg.DERPMap{}},
	{derpmap.Region{}, tstailcfg.DERPRegion{}},
	{derpmap.Node{}, tstailcfg.DERPNode{}},
}

// encoding/json reads names in any case; other implementations do not.
func TestCodecTailcfgFieldsAreSpeltAsTheirs(t *testing.T) {
	for _, pair := range tailcfgTypes {
		theirs := jsonNames(reflect.TypeOf(pair.theirs))
		for name := range jsonNames(reflect.TypeOf(pair.ours)) {
			if !theirs[name] {
				t.Errorf("%T writes %q, which %T does not have", pair.ours, name, pair.theirs)
			}
		}
	}
}

// What we write in full, they read, write again, and we read unchanged.
func TestCodecTailcfgSurvivesTheRoundTripThroughTheirs(t *testing.T) {
	for _, pair := range tailcfgTypes {
		t.Run(reflect.TypeOf(pair.ours).Name(), func(t *testing.T) {
			for seed := range uint64(20) {
				roundTrip(t, reflect.TypeOf(pair.ours), reflect.TypeOf(pair.theirs), seed)
			}
		})
	}
}

func roundTrip(t *testing.T, ourType, theirType reflect.Type, seed uint64) {
	t.Helper()
	filler := filler{rand.New(rand.NewPCG(seed, 0))}
	ours := reflect.New(ourType)
	filler.fill(ours.Elem())
	written, err := json.Marshal(ours.Interface())
	check(t, "our value is written", err)

	theirs := reflect.New(theirType).Interface()
	decoder := json.NewDecoder(bytes.NewReader(written))
	decoder.DisallowUnknownFields()
	check(t, fmt.Sprintf("they read %s", written), decoder.Decode(theirs))
	rewritten, err := json.Marshal(theirs)
	check(t, "their value is written", err)

	back := reflect.New(ourType)
	check(t, fmt.Sprintf("we read %s", rewritten), json.Unmarshal(rewritten, back.Interface()))
	again, err := json.Marshal(back.Interface())
	check(t, "our value is written again", err)
	equal(t, "what came back", string(again), string(written))
}

// The zero value of each of their types is one that we read.
func TestCodecTailcfgReadsTheirZeroValues(t *testing.T) {
	for _, pair := range tailcfgTypes {
		written, err := json.Marshal(pair.theirs)
		check(t, "their zero value is written", err)
		ours := reflect.New(reflect.TypeOf(pair.ours)).Interface()
		check(t, fmt.Sprintf("we read the zero %T, %s", pair.theirs, written), json.Unmarshal(written, ours))
	}
}

// jsonNames returns the names under which the fields of a struct are written.
func jsonNames(typ reflect.Type) map[string]bool {
	names := make(map[string]bool)
	for field := range typ.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "-" || !field.IsExported():
			continue
		case name == "":
			name = field.Name
		}
		names[name] = true
	}
	return names
}

// filler sets every field of a value to something that is not its zero.
type filler struct{ rand *rand.Rand }

func (f filler) fill(v reflect.Value) {
	if known, ok := f.known(v.Type()); ok {
		v.Set(reflect.ValueOf(known))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprintf("text-%d", f.rand.IntN(1000)))
	case reflect.Int, reflect.Int64:
		v.SetInt(1 + f.rand.Int64N(1000))
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(1 + f.rand.Uint64N(255))
	case reflect.Float64:
		v.SetFloat(float64(1+f.rand.IntN(1000)) / 8)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+f.rand.IntN(3), 3))
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 1 + f.rand.IntN(3) {
			name, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(name)
			f.fill(value)
			v.SetMapIndex(name, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	default:
		panic("no example of " + v.Type().String())
	}
}

// known returns an example of the types that write themselves.
func (f filler) known(typ reflect.Type) (any, bool) {
	switch typ {
	case reflect.TypeFor[time.Time]():
		return time.Unix(f.rand.Int64N(2e9), 0).UTC(), true
	case reflect.TypeFor[netip.Addr]():
		return f.addr(), true
	case reflect.TypeFor[netip.AddrPort]():
		return netip.AddrPortFrom(f.addr(), uint16(1+f.rand.IntN(65535))), true
	case reflect.TypeFor[netip.Prefix]():
		addr := f.addr()
		return netip.PrefixFrom(addr, f.rand.IntN(addr.BitLen()+1)).Masked(), true
	case reflect.TypeFor[key.NodePublic]():
		return key.NodePublicFromRaw32(f.bytes32()), true
	case reflect.TypeFor[key.MachinePublic]():
		return key.MachinePublicFromRaw32(f.bytes32()), true
	case reflect.TypeFor[key.DiscoPublic]():
		return key.DiscoPublicFromRaw32(f.bytes32()), true
	case reflect.TypeFor[json.RawMessage]():
		return json.RawMessage(fmt.Sprintf(`{"n":%d}`, f.rand.IntN(1000))), true
	}
	return nil, false
}

func (f filler) addr() netip.Addr {
	raw := f.bytes32()
	if f.rand.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte(raw[:4]))
	}
	return netip.AddrFrom16([16]byte(raw[:16]))
}

func (f filler) bytes32() (b [32]byte) {
	for i := range b {
		b[i] = byte(f.rand.IntN(256))
	}
	return b
}
