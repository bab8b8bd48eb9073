//go:build !race

package netstack

import (
	"net"
	"net/netip"
	"testing"
)

// Waiting for what has not arrived, reading and writing allocate nothing beyond what
// gVisor does: nothing for TCP and for two datagrams much, among others the views of
// their headers, four each. With the race detector pools lose what they hold, so that
// there is nothing to count.
func TestExchangesAllocateNothing(t *testing.T) {
	s1, s2 := newStack(t, a4, a6), newStack(t, b4, b6)
	join(t, s1, s2)

	l, err := s2.ListenTCP("tcp", netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stream := mustDial(t, s1, netip.AddrPortFrom(b4, portOf(l.Addr())))
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	there, err := s2.ListenUDP("udp", netip.AddrPortFrom(b4, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	datagrams := mustDialUDP(t, s1, netip.AddrPortFrom(b4, portOf(there.LocalAddr())))

	for _, c := range []struct {
		name   string
		gvisor float64
		client net.Conn
		answer func([]byte) error
	}{
		{"TCP", 0, stream, func(b []byte) error {
			n, err := accepted.Read(b)
			if err == nil {
				_, err = accepted.Write(b[:n])
			}
			return err
		}},
		{"UDP", 16, datagrams, func(b []byte) error {
			n, from, err := there.(*udpConn).ReadFromUDPAddrPort(b)
			if err == nil {
				_, err = there.(*udpConn).WriteToUDPAddrPort(b[:n], from)
			}
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			go func() {
				b := make([]byte, 1)
				for c.answer(b) == nil {
				}
			}()
			b := make([]byte, 1)
			if n := testing.AllocsPerRun(1000, func() {
				if _, err := c.client.Write(b); err != nil {
					t.Fatal(err)
				}
				if _, err := c.client.Read(b); err != nil {
					t.Fatal(err)
				}
			}); n > c.gvisor {
				t.Errorf("%v allocations, of which gVisor has %v", n, c.gvisor)
			}
		})
	}
}
