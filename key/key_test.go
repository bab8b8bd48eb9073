package key

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// texts are text forms and what must come of them.
var texts = []struct {
	why  string
	text string
	ok   bool
}{
	{"a key", "nodekey:" + strings.Repeat("0a", Size), true},
	{"upper-case digits are taken", "nodekey:" + strings.Repeat("0A", Size), true},
	{"zeros mean none", "nodekey:" + strings.Repeat("00", Size), true},
	{"another kind of key", "mkey:" + strings.Repeat("0a", Size), false},
	{"no prefix", strings.Repeat("0a", Size), false},
	{"too short", "nodekey:" + strings.Repeat("0a", Size-1), false},
	{"too long", "nodekey:" + strings.Repeat("0a", Size+1), false},
	{"not hex", "nodekey:" + strings.Repeat("zz", Size), false},
	{"empty", "", false},
}

func TestParsePublic(t *testing.T) {
	for _, tt := range texts {
		k, err := ParseNodePublic(tt.text)
		if (err == nil) != tt.ok {
			t.Errorf("%s: error is %v", tt.why, err)
		}
		if err == nil && k.String() != strings.ToLower(tt.text) {
			t.Errorf("%s: reads as %v", tt.why, k)
		}
		if err != nil && !k.IsZero() {
			t.Errorf("%s: an error comes with a key", tt.why)
		}
	}
}

func FuzzParsePublic(f *testing.F) {
	for _, tt := range texts {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseNodePublic(text)
		if err == nil && k.String() != strings.ToLower(text) {
			t.Errorf("%q reads as %v", text, k)
		}
		if p, err := ParseNodePrivate(text); err == nil && p.IsZero() {
			t.Error("a zero private key was accepted")
		}
	})
}

func TestJSON(t *testing.T) {
	type all struct {
		Node    NodePublic
		Machine MachinePublic
		Disco   DiscoPublic
		None    NodePublic
	}
	want := all{Node: NewNode().Public(), Machine: NewMachine().Public(), Disco: NewDisco().Public()}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got all
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("%s reads as %v, %v", text, got, err)
	}
}

func TestSecretRoundTrip(t *testing.T) {
	node, machine := NewNode(), NewMachine()
	if got, err := ParseNodePrivate(node.Secret()); err != nil || got != node {
		t.Errorf("a node key does not come back from its text: %v", err)
	}
	if got, err := ParseMachinePrivate(machine.Secret()); err != nil || got != machine {
		t.Errorf("a machine key does not come back from its text: %v", err)
	}
	if _, err := ParseNodePrivate("privkey:" + strings.Repeat("00", Size)); err == nil {
		t.Error("a zero private key was accepted")
	}
}

// TestPrivateKeysAreNotPrinted tries the ways in which values end up in logs
// and files without anybody meaning it.
func TestPrivateKeysAreNotPrinted(t *testing.T) {
	node, machine, disco := NewNode(), NewMachine(), NewDisco()
	shared := disco.Shared(NewDisco().Public())
	holder := struct {
		Node    NodePrivate
		Machine *MachinePrivate
		Disco   DiscoPrivate
		Shared  DiscoShared
	}{node, &machine, disco, shared}
	hidden := struct { // of which fmt can call no method
		node    NodePrivate
		machine *MachinePrivate
		disco   DiscoPrivate
		shared  DiscoShared
	}{node, &machine, disco, shared}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", holder)
		fmt.Fprintf(&out, verb+verb+verb+verb+"\n", node, machine, disco, shared)
		fmt.Fprintf(&out, verb+"\n", &holder)
		fmt.Fprintf(&out, verb+verb+"\n", hidden, &hidden)
	}
	text, _ := json.Marshal(holder)
	out.Write(text)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("keys", "node", node, "machine", &machine, "disco", disco, "holder", holder, "hidden", hidden, "shared", shared)
	}
	for _, secret := range [][Size]byte{node.raw(), machine.raw(), disco.raw(), shared.raw()} {
		for _, form := range []string{fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprint(secret), string(secret[:])} {
			if strings.Contains(out.String(), strings.Trim(form, "[]")) {
				t.Fatalf("a private key was printed:\n%s", out.String())
			}
		}
	}
}

func TestBox(t *testing.T) {
	alice, bob, eve := NewNode(), NewNode(), NewNode()
	sealed := alice.SealTo(bob.Public(), []byte("hello"))
	if len(sealed) != len("hello")+SealOverhead {
		t.Errorf("sealed to %d bytes", len(sealed))
	}
	if got, ok := bob.OpenFrom(alice.Public(), sealed); !ok || string(got) != "hello" {
		t.Errorf("opened %q, %v", got, ok)
	}
	if _, ok := bob.OpenFrom(eve.Public(), sealed); ok {
		t.Error("opened as if from somebody else")
	}
	if _, ok := eve.OpenFrom(alice.Public(), sealed); ok {
		t.Error("opened by somebody else")
	}
	for i := range sealed {
		if _, ok := bob.OpenFrom(alice.Public(), sealed[:i]); ok {
			t.Errorf("opened when cut to %d bytes", i)
		}
	}
	sealed[len(sealed)-1] ^= 1
	if _, ok := bob.OpenFrom(alice.Public(), sealed); ok {
		t.Error("opened after a change")
	}
}

func TestDiscoShared(t *testing.T) {
	a, b := NewDisco(), NewDisco()
	ab, ba := a.Shared(b.Public()), b.Shared(a.Public())
	sealed := ab.Seal([]byte("in front "), []byte("ping"))
	got, ok := ba.Open([]byte("got "), sealed[len("in front "):])
	if !ok || string(got) != "got ping" {
		t.Errorf("opened %q, %v", got, ok)
	}
}

func TestSharedSecretRefusesLowOrderPoints(t *testing.T) {
	for _, low := range [][Size]byte{{}, {1}} {
		if _, err := NewMachine().SharedSecret(MachinePublicFromRaw32(low)); err == nil {
			t.Errorf("a secret with the point %x was accepted", low)
		}
	}
}

func TestZeroKeys(t *testing.T) {
	if !(NodePrivate{}).Public().IsZero() || !(MachinePrivate{}).Public().IsZero() || !(DiscoPrivate{}).Public().IsZero() {
		t.Error("the public half of no key is a key")
	}
	if NewNode().IsZero() || NewNode().Public().IsZero() {
		t.Error("a new key is zero")
	}
}
