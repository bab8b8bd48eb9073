package magicsock

import (
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/meshnet-go/meshnet/internal/simnet"
)

// make soak asks for hours.
var soakTime = flag.Duration("soak", 10*time.Minute, "simulated time of TestSoak")

// On a bad network a twentieth of all packets is lost, they overtake each other,
// hosts move to other networks, links are cut and relays restart. All the time
// both nodes send numbered packets with checksums. What arrives is what was
// sent, once, and after each trouble there soon is a direct path again.
func TestSoak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		chance := rand.New(rand.NewPCG(1, 2))
		bad := simnet.Quality{Latency: 10 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.05}
		var homes []*simnet.Router
		for range 3 {
			homes = append(homes, l.Router(simnet.RouterConfig{NAT: simnet.EasyNAT()}))
		}
		hostA, hostB := homes[0].Host(), homes[1].Host()
		hostA.Link().Set(bad)
		hostB.Link().Set(bad)
		a, b := l.node(t, "100.64.0.1", hostA), l.node(t, "100.64.0.2", hostB)
		if *soakTime >= time.Hour {
			// newNode has said why there is no garbage collection. In a process
			// without other tests there can be one until the nodes are closed.
			debug.SetGCPercent(100)
			defer debug.SetGCPercent(-1)
		}
		at := 0
		troubles := []struct {
			name   string
			happen func()
		}{
			{"a moves", func() {
				at = 2 - at
				hostA.Move(homes[at])
				hostA.Link().Set(bad)
				a.SetHost(Host{Addrs: hostA.Addrs()})
				a.NetworkChanged()
			}},
			{"b's link is cut for a while", func() {
				hostB.Link().Cut()
				time.Sleep(time.Duration(chance.IntN(60)) * time.Second)
				hostB.Link().Heal()
			}},
			{"a relay restarts", func() {
				l.relays.set(1, false)
				time.Sleep(time.Duration(chance.IntN(30)) * time.Second)
				l.relays.set(1, true)
			}},
			{"a path of b becomes narrow, and wide again", func() {
				narrow := bad
				narrow.MTU = 1400
				hostB.Link().Set(narrow)
				time.Sleep(time.Duration(chance.IntN(60)) * time.Second)
				hostB.Link().Set(bad)
			}},
			{"nothing happens for a while", func() {
				time.Sleep(time.Duration(chance.IntN(10)) * time.Minute)
			}},
		}
		time.Sleep(5 * time.Second) // homes and public addresses are found
		tell := func() {
			a.know(t, map[*node]int{b: b.Local().HomeDERP})
			b.know(t, map[*node]int{a: a.Local().HomeDERP})
		}
		tell()
		ab, ba := newFlow(t, a, b), newFlow(t, b, a)
		happened := make(map[string]int)
		for begin := time.Now(); time.Since(begin) < *soakTime; {
			tell() // the coordinator has news of endpoints and homes
			if !ab.settles() || !ba.settles() {
				t.Fatalf("no direct path: %+v and %+v", ab.path(), ba.path())
			}
			trouble := troubles[chance.IntN(len(troubles))]
			happened[trouble.name]++
			trouble.happen()
		}
		ab.stop()
		ba.stop()
		t.Logf("%v: %v; %d of %d and %d of %d packets arrived", *soakTime, happened,
			ab.arrived.Load(), ab.sent.Load(), ba.arrived.Load(), ba.sent.Load())
	})
}

// A flow is what one node sends to another: ten packets a second.
type flow struct {
	t             *testing.T
	from, to      *node
	sent, arrived atomic.Int64
	direct        atomic.Int64 // arrivals while the path was direct
	stopping      chan struct{}
	stopped       chan struct{}
}

func newFlow(t *testing.T, from, to *node) *flow {
	f := &flow{t: t, from: from, to: to, stopping: make(chan struct{}), stopped: make(chan struct{}, 2)}
	go f.send()
	go f.receive()
	return f
}

func (f *flow) stop() {
	close(f.stopping)
	<-f.stopped
	<-f.stopped
}

// soakHeader is what stands before what is random: the number and the sum.
const soakHeader = 8 + 8

func (f *flow) send() {
	defer func() { f.stopped <- struct{}{} }()
	chance := rand.New(rand.NewPCG(3, 4))
	for {
		select {
		case <-f.stopping:
			return
		case <-time.After(100 * time.Millisecond):
		}
		size := 20 + 8 + soakHeader + chance.IntN(1200)
		if chance.IntN(4) == 0 {
			size += 8000
		}
		packet := append(tuntest.Ping(f.to.addr, f.from.addr), make([]byte, size)...)[:size]
		binary.BigEndian.PutUint16(packet[2:], uint16(size))
		body := packet[28:]
		for i := soakHeader; i < len(body); i += 997 {
			body[i] = byte(chance.Uint32())
		}
		binary.BigEndian.PutUint64(body, uint64(f.sent.Add(1)))
		sum := sha256.Sum256(append(body[:8:8], body[soakHeader:]...))
		copy(body[8:], sum[:8])
		f.from.tun.Outbound <- packet
	}
}

func (f *flow) receive() {
	defer func() { f.stopped <- struct{}{} }()
	seen := make(map[uint64]bool)
	for {
		var packet []byte
		select {
		case <-f.stopping:
			return
		case packet = <-f.to.tun.Inbound:
		}
		if len(packet) < 28+soakHeader {
			f.t.Errorf("a packet of %d bytes arrives", len(packet))
			continue
		}
		body := packet[28:]
		number := binary.BigEndian.Uint64(body)
		sum := sha256.Sum256(append(body[:8:8], body[soakHeader:]...))
		if [8]byte(sum[:8]) != [8]byte(body[8:]) {
			f.t.Errorf("packet %d is damaged", number)
		}
		if seen[number] || number > uint64(f.sent.Load()) {
			f.t.Errorf("packet %d arrives again, or was never sent", number)
		}
		seen[number] = true
		f.arrived.Add(1)
		if isDirect(f.from, f.to) {
			f.direct.Add(1)
		}
	}
}

func (f *flow) path() PeerInfo {
	info, _ := f.from.PeerInfo(f.to.key.Public())
	return info
}

// settles waits until something arrives while the path is direct, half a minute
// at most.
func (f *flow) settles() bool {
	before := f.direct.Load()
	for range 300 {
		time.Sleep(100 * time.Millisecond)
		if f.direct.Load() > before {
			return true
		}
	}
	return false
}
