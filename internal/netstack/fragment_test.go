package netstack

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Datagrams are cut for the path that they take, not for another.
func TestDatagramsOnPaths(t *testing.T) {
	a, b := newStack(t, a4, a6), newStack(t, b4, b6)
	_, toB := joinByPaths(t, a, b)
	pc := mustListenUDP(t, b, "udp", "0.0.0.0:53")
	pc.SetDeadline(time.Now().Add(30 * time.Second))
	got := make([]byte, 65535)
	for _, tt := range []struct {
		to      netip.Addr
		mtu     int
		size    int
		packets int64
		largest int64
	}{
		{b4, 1280, 1252, 1, 1280},
		{b4, 1280, 1253, 2, 1276},
		{b4, 1280, 8000, 7, 1276},
		{b4, 8900, 8000, 1, 8028},
		{b4, 8900, 8873, 2, 8900},
		{b4, 65535, 65507, 1, 65535},
		{b6, 1280, 1232, 1, 1280},
		{b6, 1280, 1233, 2, 1280},
		{b6, 1280, 8000, 7, 1280},
		{b6, 8900, 8000, 1, 8048},
		{b6, 8900, 8853, 2, 8896},
		{b6, 65535, 65527, 2, 65528},
		{b6, 1280, 8000, 7, 1280},
	} {
		toB.mtu.Store(int64(tt.mtu))
		a.SetMTUs(raise(tt.mtu, tt.to))
		toB.packets.Store(0)
		toB.largest.Store(0)
		c := mustDialUDP(t, a, netip.AddrPortFrom(tt.to, 53))
		want := bytes.Repeat([]byte{byte(tt.size)}, tt.size)
		if _, err := c.Write(want); err != nil {
			t.Fatal(err)
		}
		n, _, err := pc.ReadFrom(got)
		if err != nil || !bytes.Equal(got[:n], want) {
			t.Fatalf("%d bytes to %v: got %d bytes, %v", tt.size, tt.to, n, err)
		}
		if packets, largest := toB.packets.Load(), toB.largest.Load(); packets != tt.packets || largest != tt.largest {
			t.Errorf("%d bytes to %v make %d packets of up to %d bytes where these may have %d; want %d of up to %d",
				tt.size, tt.to, packets, largest, tt.mtu, tt.packets, tt.largest)
		}
	}
}

// What is missing of a datagram must not be taken from the next one.
func TestDatagramsDoNotMix(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
		a, b := newStack(t, ends[0]), newStack(t, ends[1])
		pc := mustListenUDP(t, b, "udp", netip.AddrPortFrom(ends[1], 53).String())
		pc.SetDeadline(time.Now().Add(30 * time.Second))
		c := mustDialUDP(t, a, netip.AddrPortFrom(ends[1], 53))
		for i := range 3 {
			want := bytes.Repeat([]byte{byte(i)}, 3000)
			if _, err := c.Write(want); err != nil {
				t.Fatal(err)
			}
			packets := read(t, a)
			if len(packets) != 3 {
				t.Fatalf("%d packets; want 3", len(packets))
			}
			checkFragments(t, packets)
			if i < 2 { // one loses its end, the other its middle
				packets = append(packets[:2-i], packets[3-i:]...)
			}
			if _, err := b.Tun().Write(packets, 0); err != nil {
				t.Fatal(err)
			}
			if i < 2 {
				continue
			}
			got := make([]byte, 4000)
			if n, _, err := pc.ReadFrom(got); err != nil || !bytes.Equal(got[:n], want) {
				t.Errorf("to %v: got %d bytes, %v; want the last datagram", ends[1], n, err)
			}
		}
	}
}

// checkFragments checks what gVisor does not look at.
func checkFragments(t *testing.T, packets [][]byte) {
	t.Helper()
	for _, packet := range packets {
		if header.IPVersion(packet) == header.IPv6Version {
			ip := header.IPv6(packet)
			if !ip.IsValid(len(packet)) || ip.NextHeader() != header.IPv6FragmentHeader || header.IPv6Fragment(ip.Payload()).TransportProtocol() != header.UDPProtocolNumber {
				t.Errorf("%x is not a fragment of a datagram", packet[:60])
			}
			continue
		}
		ip := header.IPv4(packet)
		if !ip.IsValid(len(packet)) || !ip.IsChecksumValid() || ip.Flags()&header.IPv4FlagDontFragment != 0 {
			t.Errorf("%x is not a fragment of a datagram", packet[:40])
		}
	}
}
