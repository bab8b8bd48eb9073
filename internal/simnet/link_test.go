package simnet

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// pairLab is two hosts on the open internet with a socket each.
type pairLab struct {
	*Network
	a, b         *Host
	sockA, sockB *sock
}

func newPair(t *testing.T) *pairLab {
	n := newNet(t)
	a, b := n.Host(), n.Host()
	return &pairLab{n, a, b, newSock(t, a), newSock(t, b)}
}

// TestDatagramTimes says when what arrives.
func TestDatagramTimes(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		says string
		up   Quality
		down Quality
		want []time.Duration // after it was sent, of ten that were sent at once
	}{
		{"at once over perfect links", Quality{}, Quality{}, slices.Repeat([]time.Duration{0}, 10)},
		{"after the latencies of the links", Quality{Latency: 30 * ms}, Quality{Latency: 12 * ms}, slices.Repeat([]time.Duration{42 * ms}, 10)},
		{"one after the other at the rate of a link", Quality{Rate: 8 * 1000 * 100}, Quality{Latency: 5 * ms},
			[]time.Duration{6 * ms, 7 * ms, 8 * ms, 9 * ms, 10 * ms, 11 * ms, 12 * ms, 13 * ms, 14 * ms, 15 * ms}},
	} {
		t.Run(test.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPair(t)
				l.a.Link().SetUp(test.up)
				l.b.Link().SetDown(test.down)
				start := time.Now()
				payload := string(make([]byte, 100-headers4))
				for range test.want {
					l.sockA.send(l.sockB.addr, payload)
				}
				for i, want := range test.want {
					l.sockB.want("they all arrive", payload)
					if got := time.Since(start); got != want {
						t.Errorf("datagram %d came after %v, want %v", i, got, want)
					}
				}
			})
		})
	}
}

func TestRateDropsWhatWaitsLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPair(t)
		l.a.Link().SetUp(Quality{Rate: 8 * 1000 * 100}) // 1 ms for each
		for range 1000 {
			l.sockA.send(l.sockB.addr, string(make([]byte, 100-headers4)))
		}
		time.Sleep(time.Second)
		if got, want := l.sockB.drain(), 201; len(got) != want {
			t.Errorf("%d of 1000 arrived, want the %d that 200 ms take", len(got), want)
		}
	})
}

// drain returns what has arrived.
func (s *sock) drain() (got []string) {
	buf := make([]byte, 1<<16)
	for {
		s.pc.SetReadDeadline(time.Now().Add(time.Nanosecond))
		n, _, err := s.pc.(addrPortConn).ReadFromUDPAddrPort(buf)
		if err != nil {
			return got
		}
		got = append(got, string(buf[:n]))
	}
}

// numbers sends numbered datagrams, one each millisecond, and returns what
// arrived.
func (l *pairLab) numbers(count int) (sent, got []string) {
	for i := range count {
		sent = append(sent, fmt.Sprintf("%05d", i))
		l.sockA.send(l.sockB.addr, sent[i])
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Minute)
	return sent, l.sockB.drain()
}

func TestJitterReorders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPair(t)
		l.a.Link().Set(Quality{Latency: 10 * time.Millisecond, Jitter: 5 * time.Millisecond})
		sent, got := l.numbers(1000)
		if slices.Equal(sent, got) {
			t.Error("nothing was reordered")
		}
		slices.Sort(got)
		if !slices.Equal(sent, got) {
			t.Error("something was lost or doubled")
		}

		l.a.Link().Set(Quality{Latency: 10 * time.Millisecond})
		if sent, got := l.numbers(1000); !slices.Equal(sent, got) {
			t.Error("without jitter the order has changed")
		}
	})
}

func TestLossIsChanceFromTheSeed(t *testing.T) {
	lost := func(seed uint64) (got []string) {
		synctest.Test(t, func(t *testing.T) {
			n := New(seed)
			defer n.Close()
			a, b := n.Host(), n.Host()
			l := &pairLab{n, a, b, newSock(t, a), newSock(t, b)}
			a.Link().Set(Quality{Loss: 0.1})
			_, got = l.numbers(10_000)
			up, _ := a.Link().Counts()
			if up.Packets != 10_000 || up.Lost != 10_000-uint64(len(got)) || up.Bytes != 10_000*(headers4+5) {
				t.Errorf("counts %+v, and %d arrived", up, len(got))
			}
		})
		return got
	}
	first := lost(1)
	if rate := 1 - float64(len(first))/10_000; math.Abs(rate-0.1) > 0.01 {
		t.Errorf("%.3f were lost, want 0.1", rate)
	}
	if !slices.Equal(first, lost(1)) {
		t.Error("the same seed lost others")
	}
	if slices.Equal(first, lost(2)) {
		t.Error("another seed lost the same")
	}
}

func TestMTUCountsTheIPPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPair(t)
		l.b.Link().SetDown(Quality{MTU: 1280})
		for _, test := range []struct {
			to      netip.Addr
			headers int
		}{{l.b.Addrs()[0], 28}, {l.b.Addrs()[1], 48}} {
			to := netip.AddrPortFrom(test.to, l.sockB.addr.Port())
			l.sockA.send(to, string(make([]byte, 1280-test.headers)))
			l.sockA.send(to, string(make([]byte, 1280-test.headers+1)))
			if got := l.sockB.drain(); len(got) != 1 || len(got[0]) != 1280-test.headers {
				t.Errorf("to %v: %d datagrams arrived, want the one of 1280 bytes", to, len(got))
			}
		}
		l.b.Link().Set(Quality{})
		if !l.sockA.reaches(l.sockB.addr, l.sockB) {
			t.Error("a link does not change while it is used")
		}
		l.sockA.send(l.sockB.addr, string(make([]byte, 9000)))
		if got := l.sockB.drain(); len(got) != 1 {
			t.Error("without an MTU a long datagram did not arrive")
		}
	})
}

func TestCutLosesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPair(t)
		l.a.Link().Set(Quality{Latency: 20 * time.Millisecond})
		l.sockA.send(l.sockB.addr, "under way")
		time.Sleep(10 * time.Millisecond)
		l.a.Link().Cut()
		l.a.Link().Cut() // twice is once
		l.sockA.send(l.sockB.addr, "into the cut")
		l.sockB.wantNothing("a link is cut")
		l.sockB.send(l.sockA.addr, "from the other side")
		l.sockA.wantNothing("a link is cut in both directions")
		l.a.Link().Heal()
		l.sockA.send(l.sockB.addr, "after it")
		l.sockB.want("a link is healed", "after it")
	})
}

// TestDirections has one direction lossy, and the other not.
func TestDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPair(t)
		l.a.Link().SetUp(Quality{Loss: 1})
		if l.sockA.reaches(l.sockB.addr, l.sockB) {
			t.Error("all is lost on the way up, and something arrived")
		}
		if !l.sockB.reaches(l.sockA.addr, l.sockA) {
			t.Error("the way down is open, and nothing arrived")
		}
	})
}

func TestTapTellsEveryFate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		home := n.Router(RouterConfig{NAT: EasyNAT()})
		laptop, server := home.Host(), n.Host()
		a, b := newSock(t, laptop), newSock(t, server)
		var last Datagram
		n.Tap(func(d Datagram) {
			last = d
			last.Data = slices.Clone(d.Data)
		})
		expect := func(fate Fate) {
			t.Helper()
			if last.Fate != fate {
				t.Errorf("the datagram was %v, want %v", last.Fate, fate)
			}
			last = Datagram{Fate: -1}
		}
		a.send(b.addr, "hello")
		outside := netip.AddrPortFrom(home.Outside()[0], a.addr.Port())
		if last.From != a.addr || last.Src != outside || last.Dst != b.addr || string(last.Data) != "hello" || last.Time != time.Now() {
			t.Errorf("the tap says %+v", last)
		}
		expect(Delivered)
		a.send(netip.AddrPortFrom(b.addr.Addr(), 9), "nobody there")
		expect(Unheard)
		a.send(ipPort("9.9.9.9:9"), "no such host")
		expect(Unroutable)
		newSock(t, server).send(outside, "unasked")
		expect(Blocked)
		b.pc.(interface{ SetReadBuffer(int) error }).SetReadBuffer(0)
		a.send(b.addr, "too much")
		expect(Overflowed)
		server.Link().Set(Quality{MTU: 100})
		a.send(b.addr, string(make([]byte, 100)))
		expect(TooBig)
		server.Link().Set(Quality{Loss: 1})
		a.send(b.addr, "unlucky")
		expect(Lost)
		server.Link().Cut()
		a.send(b.addr, "late")
		expect(CutOff)
		n.Tap(nil)
		a.send(b.addr, "unseen")
		expect(-1)
	})
}

// TestHoursOfTraffic keeps a pair of hosts talking for an hour, over a NAT and
// a bad link.
func TestHoursOfTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		home := n.Router(RouterConfig{NAT: EasyNAT()})
		bad := Quality{Latency: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Loss: 0.05}
		home.Link().Set(bad)
		laptop := newSock(t, home.Host())
		server := newSock(t, n.Host())
		echoed := make(chan int)
		go func() {
			count, buf := 0, make([]byte, 100)
			for {
				k, from, err := server.pc.(addrPortConn).ReadFromUDPAddrPort(buf)
				if err != nil {
					echoed <- count
					return
				}
				server.pc.(addrPortConn).WriteToUDPAddrPort(buf[:k], from)
				count++
			}
		}()
		const perSecond, seconds = 20, 3600
		back := 0
		for range seconds {
			for range perSecond {
				laptop.send(server.addr, "ping")
				time.Sleep(time.Second / perSecond)
			}
			back += len(laptop.drain())
		}
		time.Sleep(time.Second)
		back += len(laptop.drain())
		server.pc.Close()
		there := <-echoed
		if part := float64(there) / (perSecond * seconds); part < 0.94 || part > 0.96 {
			t.Errorf("%.3f arrived, want 0.95", part)
		}
		if part := float64(back) / float64(there); part < 0.94 || part > 0.96 {
			t.Errorf("%.3f of the answers arrived, want 0.95", part)
		}
	})
}

// TestBubbleEndsWithoutClose leaves a network with packets under way.
func TestBubbleEndsWithoutClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		h := n.Host()
		h.Link().Set(Quality{Latency: time.Hour})
		pc, err := h.ListenPacket(t.Context(), "udp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		pc.WriteTo([]byte("late"), &net.UDPAddr{IP: n.Host().Addrs()[0].AsSlice(), Port: 1})
	})
}

func TestScheduleKeepsTimeAndOrder(t *testing.T) {
	var s schedule
	var got []string
	for i := range 1000 {
		due := time.Duration(i * 7919 % 50)
		s.at(due, eventFunc(func() {
			if s.now != due {
				t.Errorf("an event of %v happens at %v", due, s.now)
			}
			got = append(got, fmt.Sprintf("%02d %04d", due, i))
		}))
	}
	s.run(24)
	if len(got) != 500 {
		t.Errorf("%d events happened until the middle, want 500", len(got))
	}
	s.run(100)
	if len(got) != 1000 || !slices.IsSorted(got) {
		t.Errorf("%d events happened, in order: %v", len(got), slices.IsSorted(got))
	}
}

type eventFunc func()

func (f eventFunc) fire() { f() }
