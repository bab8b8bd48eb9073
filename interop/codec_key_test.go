package interop

import (
	"encoding/json"
	"testing"

	tskey "tailscale.com/types/key"

	"github.com/meshnet-go/meshnet/key"
)

// text is what every public key has, here and there.
type text interface {
	String() string
	MarshalText() ([]byte, error)
}

func TestCodecPublicKeysHaveTheSameText(t *testing.T) {
	node, machine, disco := tskey.NewNode().Public(), tskey.NewMachine().Public(), tskey.NewDisco().Public()
	for _, test := range []struct {
		kind         string
		theirs, ours text
	}{
		{"node", node, key.NodePublicFromRaw32(node.Raw32())},
		{"machine", machine, key.MachinePublicFromRaw32([32]byte(machine.UntypedBytes()))},
		{"disco", disco, key.DiscoPublicFromRaw32(disco.Raw32())},
		{"zero node", tskey.NodePublic{}, key.NodePublic{}},
		{"zero machine", tskey.MachinePublic{}, key.MachinePublic{}},
		{"zero disco", tskey.DiscoPublic{}, key.DiscoPublic{}},
	} {
		theirs, err := test.theirs.MarshalText()
		check(t, "their "+test.kind+" key has a text form", err)
		ours, err := test.ours.MarshalText()
		check(t, "our "+test.kind+" key has a text form", err)
		equal(t, "the text of a "+test.kind+" key", string(ours), string(theirs))
	}
	equal(t, "the short form of a node key",
		key.NodePublicFromRaw32(node.Raw32()).Short(), node.ShortString())
	equal(t, "the short form of a disco key",
		key.DiscoPublicFromRaw32(disco.Raw32()).Short(), disco.ShortString())
	equal(t, "the digits of a node key",
		key.NodePublicFromRaw32(node.Raw32()).Hex(), node.UntypedHexString())
}

func TestCodecPrivateKeysAreReadByTheOther(t *testing.T) {
	ours, theirs := ourNode(t)
	equal(t, "the public half of our node key, read by them", theirs.Public().String(), ours.Public().String())

	back, err := theirs.MarshalText()
	check(t, "their private node key has a text form", err)
	again, err := key.ParseNodePrivate(string(back))
	check(t, "we read their private node key", err)
	equal(t, "its public half", again.Public().String(), theirs.Public().String())

	machine := key.NewMachine()
	var theirMachine tskey.MachinePrivate
	check(t, "they read our machine key", theirMachine.UnmarshalText([]byte(machine.Secret())))
	equal(t, "the public half of our machine key, read by them", theirMachine.Public().String(), machine.Public().String())
}

func TestCodecNodeBoxesOpenOnTheOtherSide(t *testing.T) {
	ours, _ := ourNode(t)
	theirs := tskey.NewNode()
	const secret = "a sealed message"

	sealed := ours.SealTo(key.NodePublicFromRaw32(theirs.Public().Raw32()), []byte(secret))
	opened, ok := theirs.OpenFrom(theirNodePublic(ours.Public()), sealed)
	equal(t, "they open our box", ok, true)
	equal(t, "the content of our box", string(opened), secret)

	sealed = theirs.SealTo(theirNodePublic(ours.Public()), []byte(secret))
	opened, ok = ours.OpenFrom(key.NodePublicFromRaw32(theirs.Public().Raw32()), sealed)
	equal(t, "we open their box", ok, true)
	equal(t, "the content of their box", string(opened), secret)

	sealed[len(sealed)-1] ^= 1
	_, ok = ours.OpenFrom(key.NodePublicFromRaw32(theirs.Public().Raw32()), sealed)
	equal(t, "we open a box that was changed", ok, false)
}

// FuzzKeyText: what is a public key to one side is to the other.
func FuzzKeyText(f *testing.F) {
	f.Add("nodekey:0000000000000000000000000000000000000000000000000000000000000000")
	f.Add("nodekey:5C8F34D3CD8E2BB0ED7F9E4F5B61B4DE1E7C7F8E0C8D1C5E7C0E1A2B3C4D5E6F")
	f.Add("mkey:5c8f34d3cd8e2bb0ed7f9e4f5b61b4de1e7c7f8e0c8d1c5e7c0e1a2b3c4d5e6f")
	f.Add("discokey:5c8f34d3cd8e2bb0ed7f9e4f5b61b4de1e7c7f8e0c8d1c5e7c0e1a2b3c4d5e6f")
	f.Add("nodekey:5c8f")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		sameText(t, s, new(key.NodePublic), new(tskey.NodePublic))
		sameText(t, s, new(key.MachinePublic), new(tskey.MachinePublic))
		sameText(t, s, new(key.DiscoPublic), new(tskey.DiscoPublic))
	})
}

// sameText fails unless both sides read the text s to the same key, or both
// refuse it. It is read as JSON, the form in which keys travel.
func sameText(t *testing.T, s string, ours, theirs text) {
	t.Helper()
	quoted, err := json.Marshal(s)
	check(t, "the text is JSON", err)
	ourErr, theirErr := json.Unmarshal(quoted, ours), json.Unmarshal(quoted, theirs)
	if (ourErr == nil) != (theirErr == nil) {
		t.Fatalf("%T of %q: our error %v, theirs %v", ours, s, ourErr, theirErr)
	}
	if ourErr == nil {
		equal(t, "the key", ours.String(), theirs.String())
	}
}

// ourNode makes a node key of ours, and the same key as one of theirs.
func ourNode(t *testing.T) (key.NodePrivate, tskey.NodePrivate) {
	t.Helper()
	ours := key.NewNode()
	var theirs tskey.NodePrivate
	check(t, "they read our private node key", theirs.UnmarshalText([]byte(ours.Secret())))
	return ours, theirs
}

func theirNodePublic(k key.NodePublic) tskey.NodePublic {
	raw := k.Raw32()
	return tskey.NodePublicFromRaw32(memRO(raw[:]))
}

func theirDiscoPublic(k key.DiscoPublic) tskey.DiscoPublic {
	raw := k.Raw32()
	return tskey.DiscoPublicFromRaw32(memRO(raw[:]))
}
