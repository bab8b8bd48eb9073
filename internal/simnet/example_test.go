package simnet_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/internal/simnet"
)

// A host behind a NAT asks a server outside, which sees the NAT's address, and
// whose answer comes back.
func Example() {
	internet := simnet.New(1)
	defer internet.Close()
	server := internet.Host(netip.MustParseAddr("203.0.113.5"))
	home := internet.Router(simnet.RouterConfig{
		NAT:     simnet.EasyNAT(),
		Outside: []netip.Addr{netip.MustParseAddr("198.51.100.7")},
	})
	laptop := home.Host()
	laptop.Link().Set(simnet.Quality{Latency: time.Millisecond})

	ctx := context.Background()
	theirs, err := server.ListenPacket(ctx, "udp4", ":3478")
	if err != nil {
		fmt.Println(err)
		return
	}
	ours, err := laptop.ListenPacket(ctx, "udp4", ":41641")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("I am", laptop.Addrs()[0])
	ours.WriteTo([]byte("who am I?"), &net.UDPAddr{IP: net.IPv4(203, 0, 113, 5), Port: 3478})

	buf := make([]byte, 100)
	n, from, _ := theirs.ReadFrom(buf)
	fmt.Printf("%v asks %q\n", from, buf[:n])
	theirs.WriteTo([]byte("you are "+from.String()), from)

	n, from, _ = ours.ReadFrom(buf)
	fmt.Printf("%v answers %q\n", from, buf[:n])
	// Output:
	// I am 192.168.1.2
	// 198.51.100.7:41641 asks "who am I?"
	// 203.0.113.5:3478 answers "you are 198.51.100.7:41641"
}
