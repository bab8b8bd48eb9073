package serve

import (
	"net"
	"testing"
)

// stranger is an address of package net's kind that is not one of its types.
type stranger struct{ network, text string }

func (a stranger) Network() string { return a.network }
func (a stranger) String() string  { return a.text }

func TestLocal(t *testing.T) {
	for _, test := range []struct {
		addr net.Addr
		want bool
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1080}, true},
		{&net.TCPAddr{IP: net.IPv4(127, 8, 8, 8), Port: 1080}, true},
		{&net.TCPAddr{IP: net.IPv6loopback, Port: 1080}, true},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:127.0.0.1"), Port: 1080}, true},
		{&net.TCPAddr{Port: 1080}, false},
		{&net.TCPAddr{IP: net.IPv4zero, Port: 1080}, false},
		{&net.TCPAddr{IP: net.IPv6zero, Port: 1080}, false},
		{&net.TCPAddr{IP: net.IPv4(100, 64, 0, 1), Port: 1080}, false},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 1080}, false},
		{&net.UnixAddr{Name: "/run/proxy", Net: "unix"}, true},
		{stranger{"pipe", "pipe"}, true},
		{stranger{"tcp", "127.0.0.1:1"}, true},
		{stranger{"tcp", "a name"}, false},
		{stranger{"mesh", "100.64.0.1:80"}, false},
		{stranger{"mesh", ":80"}, false},
		{stranger{"memory", "proxy:80"}, true},
	} {
		if got := Local(test.addr); got != test.want {
			t.Errorf("%s %v: %v", test.addr.Network(), test.addr, got)
		}
	}
}
