package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	tsderp "tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	tsdisco "tailscale.com/disco"
	"tailscale.com/net/netmon"
	tstailcfg "tailscale.com/tailcfg"
	tskey "tailscale.com/types/key"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// relayClient is a connection to a relay, by their client or by ours.
type relayClient interface {
	public() key.NodePublic
	send(dst key.NodePublic, packet []byte) error
	// next returns what the relay says next that is a packet, that a peer is
	// gone, or a pong.
	next() (relayEvent, error)
	ping([8]byte) error
	close() error
}

type relayEvent struct {
	kind string // "packet", "gone" or "pong"
	peer key.NodePublic
	data string // packet or pong
	why  byte   // of gone
}

// dialRelay connects a client that closes with the test.
type dialRelay func(*testing.T, *tstailcfg.DERPRegion, key.NodePrivate) (relayClient, error)

// clientKinds and relayKinds are the clients and relays of which every combination
// must work.
var (
	clientKinds = []struct {
		name string
		dial dialRelay
	}{
		{"our client", dialOurs},
		{"their client", dialTheirs},
	}
	relayKinds = []struct {
		name  string
		start func(*testing.T) *tstailcfg.DERPMap
	}{
		{"our relay", func(t *testing.T) *tstailcfg.DERPMap { return convert[tstailcfg.DERPMap](t, ourRelay(t)) }},
		{"their relay", theirRelay},
	}
)

func TestCodecDERPPacketsOfAllSizes(t *testing.T) {
	forEachRelay(t, func(t *testing.T, a, b member) {
		for _, size := range []int{1, 100, 1400, 16 << 10, 64<<10 - 1, 64 << 10} {
			packet := bytes.Repeat([]byte{byte(size), 7}, size)[:size]
			check(t, "the packet is sent", a.send(b.public(), packet))
			got := b.await(t, "packet")
			equal(t, "the sender", got.peer, a.public())
			equal(t, fmt.Sprintf("the packet of %d bytes came whole", size), got.data == string(packet), true)
		}
		for i := range 20 {
			check(t, "the packet is sent", b.send(a.public(), []byte{byte(i)}))
		}
		for i := range 20 {
			equal(t, "the packet in order", a.await(t, "packet").data, string(rune(i)))
		}
	})
}

func TestCodecDERPPings(t *testing.T) {
	forEachRelay(t, func(t *testing.T, a, _ member) {
		check(t, "the ping is sent", a.ping([8]byte{1, 2, 3, 4, 5, 6, 7, 8}))
		equal(t, "the pong", a.await(t, "pong").data, "\x01\x02\x03\x04\x05\x06\x07\x08")
	})
}

func TestCodecDERPPeersThatAreGone(t *testing.T) {
	forEachRelay(t, func(t *testing.T, a, b member) {
		nobody := key.NewNode().Public()
		check(t, "a disco packet is sent to nobody",
			a.send(nobody, append([]byte(tsdisco.Magic), make([]byte, 100)...)))
		equal(t, "the answer", a.await(t, "gone"),
			relayEvent{kind: "gone", peer: nobody, why: byte(derp.PeerGoneNotHere)})

		check(t, "b sends to a", b.send(a.public(), []byte("before I go")))
		a.await(t, "packet")
		check(t, "b leaves", b.close())
		equal(t, "what a hears", a.await(t, "gone"),
			relayEvent{kind: "gone", peer: b.public(), why: byte(derp.PeerGoneDisconnected)})
	})
}

// The node that connects again before its old connection is known to be dead
// must be reached by the new one.
func TestCodecDERPTheNewestConnectionOfAKeyGetsThePackets(t *testing.T) {
	for _, relay := range relayKinds {
		for _, client := range clientKinds {
			t.Run(client.name+" on "+relay.name, func(t *testing.T) {
				region := relay.start(t).Regions[1]
				private := key.NewNode()
				sender := join(t, client.dial, region, key.NewNode())
				old := join(t, client.dial, region, private)
				check(t, "a packet is sent to the first", sender.send(private.Public(), []byte("first")))
				equal(t, "what the first gets", old.await(t, "packet").data, "first")

				newest := join(t, client.dial, region, private)
				check(t, "a packet is sent to the second", sender.send(private.Public(), []byte("second")))
				equal(t, "what the second gets", newest.await(t, "packet").data, "second")

				check(t, "the second leaves", newest.close())
				eventually(t, "the first is reached again", func(context.Context) error {
					check(t, "a packet is sent to the first", sender.send(private.Public(), []byte("third")))
					select {
					case event := <-old.events:
						equal(t, "what the first gets", event.data, "third")
						return nil
					default:
						return errors.New("nothing has come yet")
					}
				})
			})
		}
	}
}

func TestCodecDERPAnotherCertificateThanThePinnedIsRefused(t *testing.T) {
	for _, relay := range relayKinds {
		for _, client := range clientKinds {
			t.Run(client.name+" on "+relay.name, func(t *testing.T) {
				region := relay.start(t).Regions[1]
				_, region.Nodes[0].CertName = selfSigned(t)
				if _, err := client.dial(t, region, key.NewNode()); err == nil {
					t.Fatal("the client connected to a relay with another certificate")
				}
			})
		}
	}
}

// forEachRelay runs a test between two clients of every kind on every relay.
func forEachRelay(t *testing.T, test func(t *testing.T, a, b member)) {
	for _, relay := range relayKinds {
		for _, ka := range clientKinds {
			for _, kb := range clientKinds {
				t.Run(fmt.Sprintf("%s and %s on %s", ka.name, kb.name, relay.name), func(t *testing.T) {
					region := relay.start(t).Regions[1]
					test(t, join(t, ka.dial, region, key.NewNode()), join(t, kb.dial, region, key.NewNode()))
				})
			}
		}
	}
}

// member is a client that is read from all the time.
type member struct {
	relayClient
	events <-chan relayEvent // closed when the connection has ended
}

// join connects a client, and returns when the relay knows it.
func join(t *testing.T, dial dialRelay, region *tstailcfg.DERPRegion, private key.NodePrivate) member {
	t.Helper()
	c, err := dial(t, region, private)
	check(t, "the client connects", err)
	events := make(chan relayEvent, 100)
	go func() {
		defer close(events)
		for {
			event, err := c.next()
			if err != nil {
				return
			}
			events <- event
		}
	}()
	m := member{c, events}
	check(t, "a ping is sent", m.ping([8]byte{}))
	m.await(t, "pong")
	return m
}

// await waits for the next event, which must be of that kind.
func (m member) await(t *testing.T, kind string) relayEvent {
	t.Helper()
	select {
	case event := <-m.events:
		equal(t, "what the relay says", event.kind, kind)
		return event
	case <-within(t, 10*time.Second).Done():
		t.Fatalf("the relay says nothing; a %s was to come", kind)
		panic("unreachable")
	}
}

type ourRelayClient struct {
	*derp.Client
	self key.NodePublic
}

func dialOurs(t *testing.T, region *tstailcfg.DERPRegion, private key.NodePrivate) (relayClient, error) {
	c, err := derp.Dial(within(t, 10*time.Second), derp.DialConfig{Key: private, Region: convert[derpmap.Region](t, region)})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return &ourRelayClient{c, private.Public()}, nil
}

func (c *ourRelayClient) public() key.NodePublic  { return c.self }
func (c *ourRelayClient) ping(data [8]byte) error { return c.Ping(data) }
func (c *ourRelayClient) close() error            { return c.Close() }

func (c *ourRelayClient) send(dst key.NodePublic, packet []byte) error {
	return errors.Join(c.Send(dst, packet), c.Flush())
}

func (c *ourRelayClient) next() (relayEvent, error) {
	for {
		f, err := c.Recv()
		switch {
		case err != nil:
			return relayEvent{}, err
		case f.Type == derp.FrameRecvPacket:
			return relayEvent{kind: "packet", peer: f.Peer, data: string(f.Data)}, nil
		case f.Type == derp.FramePeerGone:
			return relayEvent{kind: "gone", peer: f.Peer, why: byte(f.Reason)}, nil
		case f.Type == derp.FramePong:
			return relayEvent{kind: "pong", data: string(f.Data)}, nil
		}
	}
}

type theirRelayClient struct {
	*derphttp.Client
	self key.NodePublic
}

func dialTheirs(t *testing.T, region *tstailcfg.DERPRegion, private key.NodePrivate) (relayClient, error) {
	var theirs tskey.NodePrivate
	check(t, "they read our private node key", theirs.UnmarshalText([]byte(private.Secret())))
	c := derphttp.NewRegionClient(theirs, newLog(t, "derphttp").printf, netmon.NewStatic(),
		func() *tstailcfg.DERPRegion { return region })
	t.Cleanup(func() { c.Close() })
	if err := c.Connect(within(t, 10*time.Second)); err != nil {
		return nil, err
	}
	return &theirRelayClient{c, private.Public()}, nil
}

func (c *theirRelayClient) public() key.NodePublic  { return c.self }
func (c *theirRelayClient) ping(data [8]byte) error { return c.SendPing(data) }
func (c *theirRelayClient) close() error            { return c.Close() }

func (c *theirRelayClient) send(dst key.NodePublic, packet []byte) error {
	return c.Send(theirNodePublic(dst), packet)
}

func (c *theirRelayClient) next() (relayEvent, error) {
	for {
		m, err := c.Recv()
		if err != nil {
			return relayEvent{}, err
		}
		switch m := m.(type) {
		case tsderp.ReceivedPacket:
			return relayEvent{kind: "packet", peer: ourNodePublic(m.Source), data: string(m.Data)}, nil
		case tsderp.PeerGoneMessage:
			return relayEvent{kind: "gone", peer: ourNodePublic(m.Peer), why: byte(m.Reason)}, nil
		case tsderp.PongMessage:
			return relayEvent{kind: "pong", data: string(m[:])}, nil
		}
	}
}

func ourNodePublic(k tskey.NodePublic) key.NodePublic { return key.NodePublicFromRaw32(k.Raw32()) }
