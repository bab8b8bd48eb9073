package magicsock

import (
	"slices"
	"testing"
	"testing/synctest"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/relay"
	"github.com/meshnet-go/meshnet/key"
)

// stranger sends to a node what it likes, through a relay of its own.
type stranger struct {
	*memPool
	key   key.NodePrivate
	disco key.DiscoPrivate
}

func (r *memRelays) stranger() *stranger {
	s := &stranger{key: key.NewNode(), disco: key.NewDisco()}
	s.memPool = r.pool(s.key.Public())
	s.SetMap(testMap(1, 2))
	s.SetHome(1)
	return s
}

// answer returns what the stranger gets for a packet, or nil.
func (s *stranger) answer(to *node, region int, packet []byte) []byte {
	s.Send(region, to.key.Public(), packet)
	synctest.Wait()
	select {
	case p := <-s.Recv():
		if p.Region != region {
			return []byte("through another region")
		}
		return p.Data
	default:
		return nil
	}
}

type rawMessage []byte

func (m rawMessage) Append(dst []byte) []byte { return append(dst, m...) }

func TestDisco(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, s := r.memNode(t, "100.64.0.1"), r.stranger()
		shared := s.disco.Shared(a.disco.Public())
		seal := func(m disco.Message) []byte { return disco.Seal(nil, s.disco.Public(), &shared, m) }
		ping := disco.Ping{TxID: disco.TxID{1, 2, 3}, NodeKey: s.key.Public()}

		wantPong := func(sentence string, region int, packet []byte) {
			t.Helper()
			got := s.answer(a, region, packet)
			m, err := disco.Open(got, &shared)
			if want := (disco.Pong{TxID: ping.TxID, Src: disco.RegionAddr(region)}); err != nil || m != want {
				t.Errorf("%s: got %v (%v), want %v", sentence, m, err, want)
			}
			if from, _ := disco.Source(got); from != a.disco.Public() {
				t.Errorf("%s: the pong is from %v", sentence, from)
			}
		}
		wantSilence := func(sentence string, packet []byte) {
			t.Helper()
			if got := s.answer(a, 1, packet); got != nil {
				t.Errorf("%s: got an answer of %d bytes", sentence, len(got))
			}
		}

		wantSilence("a ping from nobody", seal(ping))
		a.SetPeers([]Peer{{Key: s.key.Public()}})
		wantSilence("a ping from a peer without a disco key", seal(ping))
		a.SetPeers([]Peer{{Key: s.key.Public(), Disco: key.NewDisco().Public()}})
		wantSilence("a ping from a peer with another disco key", seal(ping))
		a.SetPeers([]Peer{{Key: key.NewNode().Public(), Disco: s.disco.Public()}})
		wantSilence("a ping with a peer's disco key and another's node key", seal(ping))

		a.SetPeers([]Peer{{Key: s.key.Public(), Disco: s.disco.Public(), HomeDERP: 2}})
		wantPong("a ping", 1, seal(ping))
		a.relays.Send(2, s.key.Public(), nil) // connects a to region 2, s is not there
		wantPong("a ping through another region", 2, seal(ping))
		ping.Padding = 1200
		wantPong("a padded ping", 1, seal(ping))

		wrong := s.disco.Shared(key.NewDisco().Public())
		wantSilence("a ping sealed for another", disco.Seal(nil, s.disco.Public(), &wrong, ping))
		wantSilence("a cut ping", seal(ping)[:100])
		wantSilence("an envelope with nothing in it", seal(ping)[:38])
		wantSilence("a pong that nobody waits for", seal(disco.Pong{}))
		wantSilence("call-me-maybe", seal(disco.CallMeMaybe{}))
		wantSilence("a message of an unknown type", seal(rawMessage{9, 0, 1, 2, 3}))
		wantSilence("an empty message", seal(rawMessage{}))
		wantSilence("a ping larger than any frame", seal(disco.Ping{Padding: maxDisco}))
		wantPong("a ping after all that", 1, seal(ping))

		s.disco = key.NewDisco()
		shared = s.disco.Shared(a.disco.Public())
		a.SetPeers([]Peer{{Key: s.key.Public(), Disco: s.disco.Public()}})
		wantPong("a ping after a restart of the peer", 1, seal(ping))
		a.SetPeers(nil)
		wantSilence("a ping from one who was a peer", seal(ping))
	})
}

// A relay may say anything.
func TestHostileRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(memRelays)
		a, b, s := r.memNode(t, "100.64.0.1"), r.memNode(t, "100.64.0.2"), r.stranger()
		a.know(t, map[*node]int{b: 1})
		b.know(t, map[*node]int{a: 1})
		wantArrives(t, "before", a, b, true)
		for _, src := range []key.NodePublic{b.key.Public(), a.key.Public(), s.key.Public(), {}} {
			for _, region := range []int{1, 2, 77, 0, -1, 1 << 40} {
				for _, packet := range hostilePackets() {
					a.relays.(*memPool).out <- relay.Packet{Region: region, Src: src, Data: packet}
				}
				synctest.Wait()
			}
		}
		wantArrives(t, "after", a, b, true)
		wantArrives(t, "and back", b, a, true)
	})
}

func hostilePackets() [][]byte {
	magic := []byte("TS\U0001f4ac")
	initiation := make([]byte, 148)
	initiation[0] = 1
	transport := slices.Repeat([]byte{0xff}, 1<<16)
	copy(transport, []byte{4, 0, 0, 0})
	return [][]byte{
		nil, {1}, make([]byte, 32), make([]byte, 1<<20), initiation, initiation[:147],
		transport, transport[:1280], slices.Concat(magic, transport), slices.Concat(magic, make([]byte, 32)), magic,
	}
}

func FuzzAccept(f *testing.F) {
	for _, packet := range hostilePackets() {
		f.Add(1, true, packet)
		f.Add(-1, false, packet)
	}
	c := newConn((&node{disco: key.NewDisco()}).config(), new(memRelays).pool(key.NodePublic{}))
	f.Cleanup(func() { c.Close() })
	known := Peer{Key: key.NewNode().Public(), Disco: key.NewDisco().Public()}
	c.SetPeers([]Peer{known})
	c.PeersReady()
	f.Fuzz(func(t *testing.T, region int, isPeer bool, data []byte) {
		packet := relay.Packet{Region: region, Data: data}
		if isPeer {
			packet.Src = known.Key
		}
		to := received{packets: [][]byte{make([]byte, 1<<16-1)}, sizes: make([]int, 1), eps: make([]conn.Endpoint, 1)}
		c.take(packet, &to)
		if want := isPeer && !disco.Looks(data) && len(data) < 1<<16; (to.n == 1) != want {
			t.Errorf("%d packets for WireGuard, want one: %v", to.n, want)
		}
	})
}
