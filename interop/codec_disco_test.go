package interop

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	tsdisco "tailscale.com/disco"
	tskey "tailscale.com/types/key"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/key"
)

var (
	discoTx   = [12]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	discoNode = key.NodePublicFromRaw32([32]byte{31: 9})
	endpoints = []netip.AddrPort{
		netip.MustParseAddrPort("192.0.2.1:41641"),
		netip.MustParseAddrPort("[2001:db8::1]:1"),
		netip.MustParseAddrPort("127.3.3.40:65535"),
	}
)

var discoMessages = []struct {
	name   string
	ours   disco.Message
	theirs tsdisco.Message
}{
	{"ping", disco.Ping{TxID: discoTx, NodeKey: discoNode},
		&tsdisco.Ping{TxID: discoTx, NodeKey: theirNodePublic(discoNode)}},
	{"padded ping", disco.Ping{TxID: discoTx, NodeKey: discoNode, Padding: 1000},
		&tsdisco.Ping{TxID: discoTx, NodeKey: theirNodePublic(discoNode), Padding: 1000}},
	{"pong over IPv4", disco.Pong{TxID: discoTx, Src: endpoints[0]},
		&tsdisco.Pong{TxID: discoTx, Src: endpoints[0]}},
	{"pong over IPv6", disco.Pong{TxID: discoTx, Src: endpoints[1]},
		&tsdisco.Pong{TxID: discoTx, Src: endpoints[1]}},
	{"pong over a relay", disco.Pong{TxID: discoTx, Src: disco.RegionAddr(7)},
		&tsdisco.Pong{TxID: discoTx, Src: netip.MustParseAddrPort("127.3.3.40:7")}},
	{"call-me-maybe", disco.CallMeMaybe{Endpoints: endpoints},
		&tsdisco.CallMeMaybe{MyNumber: endpoints}},
}

func TestCodecDiscoMessagesAreTheSameBytes(t *testing.T) {
	for _, test := range discoMessages {
		t.Run(test.name, func(t *testing.T) {
			ours, theirs := test.ours.Append(nil), test.theirs.AppendMarshal(nil)
			equal(t, "our message", fmt.Sprintf("%x", ours), fmt.Sprintf("%x", theirs))

			read, err := tsdisco.Parse(ours)
			check(t, "they read our message", err)
			equal(t, "our message, read by them", read, test.theirs)

			back, err := disco.Parse(theirs)
			check(t, "we read their message", err)
			equal(t, "their message, read by us", back, test.ours)
		})
	}
}

func TestCodecDiscoWeKnowNoTypeOfTheirRelays(t *testing.T) {
	for _, m := range []tsdisco.Message{
		&tsdisco.BindUDPRelayEndpoint{},
		&tsdisco.BindUDPRelayEndpointChallenge{},
		&tsdisco.BindUDPRelayEndpointAnswer{},
		&tsdisco.CallMeMaybeVia{},
		&tsdisco.AllocateUDPRelayEndpointRequest{},
		&tsdisco.AllocateUDPRelayEndpointResponse{},
	} {
		_, err := disco.Parse(m.AppendMarshal(nil))
		if !errors.Is(err, disco.ErrUnknownType) {
			t.Errorf("%T: %v, not ErrUnknownType", m, err)
		}
	}
}

func TestCodecDiscoEnvelopesOpenOnTheOtherSide(t *testing.T) {
	ours, theirs := key.NewDisco(), tskey.NewDisco()
	ourShared := ours.Shared(key.DiscoPublicFromRaw32(theirs.Public().Raw32()))
	theirShared := theirs.Shared(theirDiscoPublic(ours.Public()))

	for _, test := range discoMessages {
		t.Run(test.name, func(t *testing.T) {
			packet := disco.Seal(nil, ours.Public(), &ourShared, test.ours)
			equal(t, "they take our packet for disco", tsdisco.LooksLikeDiscoWrapper(packet), true)
			source, _ := tsdisco.Source(packet)
			equal(t, "the source of our packet", tskey.DiscoPublicFromRaw32(memRO(source)), theirDiscoPublic(ours.Public()))
			opened, ok := theirShared.Open(packet[len(tsdisco.Magic)+len(source):])
			equal(t, "they open our packet", ok, true)
			read, err := tsdisco.Parse(opened)
			check(t, "they read our message", err)
			equal(t, "our message, read by them", read, test.theirs)

			packet = theirs.Public().AppendTo([]byte(tsdisco.Magic))
			packet = append(packet, theirShared.Seal(test.theirs.AppendMarshal(nil))...)
			from, ok := disco.Source(packet)
			equal(t, "we take their packet for disco", ok, true)
			equal(t, "the source of their packet", theirDiscoPublic(from), theirs.Public())
			back, err := disco.Open(packet, &ourShared)
			check(t, "we open their packet", err)
			equal(t, "their message, read by us", back, test.ours)
		})
	}
}

// TestHelloIsOurs: a message by which meshnet nodes recognise each other means
// nothing to others.
func TestHelloIsOurs(t *testing.T) {
	if m, err := tsdisco.Parse(disco.Hello{Answer: true}.Append(nil)); err == nil {
		t.Errorf("they read a hello as %+v", m)
	}
}

// FuzzDisco: both sides read the same out of any bytes, but for the types that
// we do not speak, and two liberties of ours with a CallMeMaybe, which must not
// hold more endpoints than a node can have, and may have a tail.
func FuzzDisco(f *testing.F) {
	for _, m := range discoMessages {
		f.Add(m.ours.Append(nil))
	}
	f.Add([]byte{})
	f.Add([]byte{1, 0, 1, 2, 3})
	f.Add([]byte{3, 1, 0})
	f.Fuzz(func(t *testing.T, message []byte) {
		ours, ourErr := disco.Parse(message)
		if _, ok := ours.(disco.Hello); ok || errors.Is(ourErr, disco.ErrUnknownType) {
			return
		}
		theirs, theirErr := tsdisco.Parse(message)
		if (ourErr == nil) != (theirErr == nil) {
			t.Fatalf("our error is %v, theirs %v", ourErr, theirErr)
		}
		if ourErr != nil {
			return
		}
		switch theirs := theirs.(type) {
		case *tsdisco.Ping:
			ours := ours.(disco.Ping)
			equal(t, "transaction", [12]byte(ours.TxID), theirs.TxID)
			equal(t, "node key", ours.NodeKey.Raw32(), theirs.NodeKey.Raw32())
			equal(t, "padding", ours.Padding, theirs.Padding)
		case *tsdisco.Pong:
			ours := ours.(disco.Pong)
			equal(t, "transaction", [12]byte(ours.TxID), theirs.TxID)
			equal(t, "source", ours.Src, theirs.Src)
		case *tsdisco.CallMeMaybe:
			ours := ours.(disco.CallMeMaybe)
			if n := len(theirs.MyNumber); n > 0 {
				equal(t, "endpoints", ours.Endpoints, theirs.MyNumber[:min(n, disco.MaxEndpoints)])
			}
		}
	})
}
