package path

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

var zero = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// A hardNAT gives every socket another port.
type hardNAT struct {
	rng        *rand.Rand
	sequential bool
	next       int
	ports      map[int]uint16 // by socket
	taken      map[uint16]bool
}

func (n *hardNAT) port(socket int) uint16 {
	if port, ok := n.ports[socket]; ok {
		return port
	}
	for {
		port := uint16(firstPort + n.rng.IntN(portCount))
		if n.sequential {
			n.next += 1 + n.rng.IntN(2) // other traffic
			port = uint16(firstPort + n.next%portCount)
		}
		if !n.taken[port] {
			n.ports[socket], n.taken[port] = port, true
			return port
		}
	}
}

// meet runs both sides of an attempt, and returns when a guess was right, and
// how many packets were sent in the busiest second.
func meet(rng *rand.Rand, sequential bool, loss float64) (found time.Duration, ok bool, busiest int) {
	nat := &hardNAT{rng: rng, sequential: sequential, next: rng.IntN(portCount), ports: make(map[int]uint16), taken: make(map[uint16]bool)}
	seen := []uint16{nat.port(-1), nat.port(-2), nat.port(-3)}
	nat.next += rng.IntN(200) // since they were seen
	easyAddr, hardAddr := public, netip.AddrPortFrom(other.Addr(), seen[0])

	var hard, easy PortProbing
	hard.Start(zero, HardSide, easyAddr, nil, rng.Uint64())
	easy.Start(zero.Add(40*time.Millisecond), EasySide, hardAddr, seen, rng.Uint64())
	open := make(map[uint16]bool)
	var sent []time.Duration
	for hard.Running() || easy.Running() {
		now := earlier(hard.Deadline(), easy.Deadline())
		for _, probe := range hard.Tick(now) {
			sent = append(sent, now.Sub(zero))
			open[nat.port(probe.Socket)] = true
		}
		for _, probe := range easy.Tick(now) {
			sent = append(sent, now.Sub(zero))
			if !ok && probe.To.Addr() == hardAddr.Addr() && open[probe.To.Port()] && rng.Float64() >= loss {
				found, ok = now.Sub(zero), true
			}
		}
	}
	first := 0
	for i, at := range sent {
		for sent[first] <= at-time.Second {
			first++
		}
		busiest = max(busiest, i-first+1)
	}
	return found, ok, busiest
}

func TestPortProbingFindsAPath(t *testing.T) {
	for _, tt := range []struct {
		name       string
		sequential bool
		loss       float64
		want       float64       // rate of success
		median     time.Duration // at most
	}{
		{"random ports", false, 0, 0.99, 5 * time.Second},
		{"random ports, one ping in five is lost", false, 0.2, 0.99, 5 * time.Second},
		{"ports in sequence", true, 0, 0.99, 1500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			const runs = 200
			met, soon := 0, 0
			for range runs {
				found, ok, busiest := meet(rng, tt.sequential, tt.loss)
				if busiest > 200 {
					t.Fatalf("%d packets in a second", busiest)
				}
				if ok && found > probeTime+time.Second {
					t.Fatalf("found after %v", found)
				}
				if ok {
					met++
				}
				if ok && found <= tt.median {
					soon++
				}
			}
			t.Logf("%d of %d found a path, %d within %v", met, runs, soon, tt.median)
			if float64(met) < tt.want*runs {
				t.Errorf("%d of %d found a path", met, runs)
			}
			if soon < runs/2 {
				t.Errorf("only %d of %d within %v", soon, runs, tt.median)
			}
		})
	}
}

func TestEveryPortIsGuessedOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		o := newPortOrder(nil, rng.Uint64())
		var seen [1 << 16]bool
		for i := range portCount {
			port := o.at(i)
			if port < firstPort || seen[port] {
				t.Fatalf("guess %d is %d, again or too low", i, port)
			}
			seen[port] = true
		}
	}
}

func TestPortsInSequenceArePredicted(t *testing.T) {
	for _, tt := range []struct {
		name string
		seen []uint16
		want bool
	}{
		{"none", nil, false},
		{"one", []uint16{4000}, false},
		{"twice the same", []uint16{4000, 4000}, false},
		{"close together", []uint16{4010, 4000, 4003}, true},
		{"far apart", []uint16{4000, 50000}, false},
		{"at the upper end", []uint16{65533, 65535}, true},
		{"at the lower end", []uint16{1024, 1026}, true},
		{"not from a NAT", []uint16{80, 81}, false},
	} {
		o := newPortOrder(tt.seen, 5)
		if o.sequential != tt.want {
			t.Errorf("%s: in sequence is %v", tt.name, o.sequential)
		}
		for i := range 10000 {
			if port := o.at(i); port < firstPort {
				t.Errorf("%s: guess %d is %d", tt.name, i, port)
			}
		}
	}
}

func TestPortProbingPausesLonger(t *testing.T) {
	var b PortProbing
	now := zero
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 32} {
		if !b.Start(now, EasySide, other, nil, 1) {
			t.Fatalf("%v: no new attempt", now.Sub(zero))
		}
		if b.Start(now, EasySide, other, nil, 1) {
			t.Error("an attempt begins while another is under way")
		}
		begin, probes := now, 0
		for b.Running() {
			now = b.Deadline()
			probes += len(b.Tick(now))
		}
		if took := now.Sub(begin); took != probeTime {
			t.Errorf("an attempt takes %v", took)
		}
		if probes != 2990 { // 400 times three or eight
			t.Errorf("an attempt sends %d guesses", probes)
		}
		if !b.Deadline().IsZero() {
			t.Error("there is a deadline after the attempt")
		}
		now = now.Add(pause*time.Minute - 1)
		if b.Start(now, EasySide, other, nil, 1) {
			t.Errorf("a new attempt before %d minutes", pause)
		}
		now = now.Add(1)
	}
	b.Start(now, EasySide, other, nil, 1)
	b.Stop(now, true)
	if !b.Start(now, EasySide, other, nil, 1) {
		t.Error("after a success the next attempt has to wait")
	}
	b.Stop(now, false)
	b.NetworkChanged()
	if !b.Start(now, EasySide, other, nil, 1) {
		t.Error("behind another NAT the next attempt has to wait")
	}
}

func TestALateTickMakesNoBurst(t *testing.T) {
	var b PortProbing
	b.Start(zero, EasySide, other, nil, 1)
	b.Tick(zero)
	if n := len(b.Tick(zero.Add(5 * time.Second))); n != guessedFirst {
		t.Errorf("%d probes after 5 s", n)
	}
	if n := len(b.Tick(zero.Add(5*time.Second + 1))); n != 0 {
		t.Errorf("%d probes right after", n)
	}
}

func TestPortProbingNeedsAnAddress(t *testing.T) {
	for _, tt := range []struct {
		name string
		side Side
		to   netip.AddrPort
		want bool
	}{
		{"the easy side's endpoint", HardSide, public, true},
		{"the easy side's endpoint without a port", HardSide, netip.AddrPortFrom(public.Addr(), 0), false},
		{"the hard side's address without a port", EasySide, netip.AddrPortFrom(public.Addr(), 0), true},
		{"no address", EasySide, netip.AddrPort{}, false},
		{"a multicast address", EasySide, netip.MustParseAddrPort("224.0.0.1:1"), false},
	} {
		var b PortProbing
		if got := b.Start(zero, tt.side, tt.to, nil, 1); got != tt.want {
			t.Errorf("%s: starts is %v", tt.name, got)
		}
	}
}
