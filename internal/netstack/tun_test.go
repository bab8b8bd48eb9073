package netstack

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// readOne reads one packet.
func readOne(t *testing.T, d tun.Device) []byte {
	t.Helper()
	buf, sizes := make([]byte, 2000), make([]int, 1)
	n, err := d.Read([][]byte{buf}, sizes, 10)
	if n != 1 || err != nil {
		t.Fatalf("Read: %d, %v", n, err)
	}
	return buf[10 : 10+sizes[0]]
}

func TestDeviceFacts(t *testing.T) {
	s := newStack(t, a4)
	mtu, _ := s.Tun().MTU()
	name, _ := s.Tun().Name()
	if mtu != 1280 || s.Tun().BatchSize() < 53 || name == "" || s.Tun().File() != nil {
		t.Errorf("MTU %d, batch %d, name %q", mtu, s.Tun().BatchSize(), name)
	}
	if event := <-s.Tun().Events(); event != tun.EventUp {
		t.Errorf("event %v", event)
	}
	for _, bad := range []int{-1, 1279, 65536} {
		if _, err := New(Config{MTU: bad}); err == nil {
			t.Errorf("an MTU of %d is taken", bad)
		}
	}
}

func TestInject(t *testing.T) {
	s := newStack(t)
	want := []byte{0x45, 1, 2, 3}
	s.Inject(want)
	if got := readOne(t, s.Tun()); !bytes.Equal(got, want) {
		t.Errorf("got %x", got)
	}
	for range 2 * queueLen {
		s.Inject(want) // drops, does not wait
	}
}

func TestEcho(t *testing.T) {
	s := newStack(t, a4, a6)
	echo4 := make([]byte, header.IPv4MinimumSize+header.ICMPv4MinimumSize+5)
	ip4 := header.IPv4(echo4)
	ip4.Encode(&header.IPv4Fields{TotalLength: uint16(len(echo4)), TTL: 64, Protocol: uint8(header.ICMPv4ProtocolNumber), SrcAddr: toTCPIP(b4), DstAddr: toTCPIP(a4)})
	ip4.SetChecksum(^ip4.CalculateChecksum())
	icmp4 := header.ICMPv4(ip4.Payload())
	icmp4.SetType(header.ICMPv4Echo)
	copy(icmp4[header.ICMPv4MinimumSize:], "hello")
	icmp4.SetChecksum(header.ICMPv4Checksum(icmp4, 0))
	s.Tun().Write([][]byte{echo4}, 0)
	reply := header.IPv4(readOne(t, s.Tun()))
	answer := header.ICMPv4(reply.Payload())
	if answer.Type() != header.ICMPv4EchoReply || string(answer[header.ICMPv4MinimumSize:]) != "hello" ||
		fromTCPIP(reply.DestinationAddress()) != b4 || !reply.IsChecksumValid() || checksum.Checksum(answer, 0) != 0xffff {
		t.Errorf("the answer over IPv4 is %x", []byte(reply))
	}

	echo6 := make([]byte, header.IPv6MinimumSize+header.ICMPv6EchoMinimumSize+5)
	ip6 := header.IPv6(echo6)
	ip6.Encode(&header.IPv6Fields{PayloadLength: uint16(len(echo6) - header.IPv6MinimumSize), HopLimit: 64, TransportProtocol: header.ICMPv6ProtocolNumber, SrcAddr: toTCPIP(b6), DstAddr: toTCPIP(a6)})
	icmp6 := header.ICMPv6(ip6.Payload())
	icmp6.SetType(header.ICMPv6EchoRequest)
	copy(icmp6[header.ICMPv6EchoMinimumSize:], "hello")
	icmp6.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: icmp6, Src: toTCPIP(b6), Dst: toTCPIP(a6)}))
	s.Tun().Write([][]byte{echo6}, 0)
	reply6 := header.IPv6(readOne(t, s.Tun()))
	answer6 := header.ICMPv6(reply6.Payload())
	if answer6.Type() != header.ICMPv6EchoReply || string(answer6[header.ICMPv6EchoMinimumSize:]) != "hello" || fromTCPIP(reply6.DestinationAddress()) != b6 {
		t.Errorf("the answer over IPv6 is %x", []byte(reply6))
	}
}

func TestReadAfterClose(t *testing.T) {
	for name, end := range map[string]func(s *Stack) error{
		"the device": func(s *Stack) error { return s.Tun().Close() },
		"the stack":  func(s *Stack) error { return s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStack(t, a4)
			waiting := make(chan error)
			go func() {
				_, err := s.Tun().Read([][]byte{make([]byte, 2000)}, make([]int, 1), 0)
				waiting <- err
			}()
			for range 2 {
				if err := end(s); err != nil {
					t.Error(err)
				}
			}
			if err := <-waiting; !errors.Is(err, os.ErrClosed) {
				t.Errorf("Read that waited: %v", err)
			}
			if _, err := s.Tun().Read([][]byte{make([]byte, 2000)}, make([]int, 1), 0); !errors.Is(err, os.ErrClosed) {
				t.Errorf("Read: %v", err)
			}
			if _, err := s.Tun().Write([][]byte{{0x45}}, 0); !errors.Is(err, os.ErrClosed) {
				t.Errorf("Write: %v", err)
			}
			s.Inject([]byte{0x45}) // nowhere to go, and no panic
			<-s.Tun().Events()
			if _, open := <-s.Tun().Events(); open {
				t.Error("the channel of events is open")
			}
		})
	}
}

func TestCloseUnderLoad(t *testing.T) {
	a, b := newPair(t)
	var wg sync.WaitGroup
	for _, addr := range []netip.Addr{b4, b6} {
		client, server := connect(t, a, b, addr)
		wg.Go(func() { io.Copy(client, endless{}) })
		wg.Go(func() { io.Copy(io.Discard, server) })
	}
	ctx := within(t)
	wg.Go(func() {
		for {
			_, err := a.DialTCP(ctx, "tcp", netip.Addr{}, netip.AddrPortFrom(b4, 1)) // refused, until
			if errors.Is(err, net.ErrClosed) {
				return
			}
		}
	})
	for _, s := range []*Stack{a, b, a, b} {
		wg.Go(func() { s.Close() })
	}
	wg.Wait()
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
