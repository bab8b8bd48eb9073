package main

import (
	"net"
	"net/url"
	"testing"
)

// A listenerAt is one that only has an address.
type listenerAt struct {
	net.Listener
	addr string
}

func (l listenerAt) Addr() net.Addr {
	addr, _ := net.ResolveTCPAddr("tcp", l.addr)
	return addr
}

// STUN is where nodes come, also when they reach the web server through a proxy.
func TestWhereSTUNIs(t *testing.T) {
	for _, tt := range []struct {
		listen, url string
		host        string
		port        int
	}{
		{"127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1", 0},
		{"[::1]:8080", "http://localhost:8080", "::1", 0},
		{"127.0.0.1:8080", "https://mesh.example.com", "", usualSTUN},
		{"192.0.2.7:443", "https://mesh.example.com", "192.0.2.7", usualSTUN},
		{"[::]:443", "https://mesh.example.com", "::", usualSTUN},
		{"0.0.0.0:8080", "http://127.0.0.1:8080", "0.0.0.0", usualSTUN}, // no other address is known
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		f := &front{ln: listenerAt{addr: tt.listen}, url: u}
		if host, port := hostFor(f), new(stunConfig).portFor(f); host != tt.host || port != tt.port {
			t.Errorf("%s at %s: STUN at %q, %d; want %q, %d", tt.url, tt.listen, host, port, tt.host, tt.port)
		}
		chosen := stunConfig{given: true, port: 7}
		if chosen.portFor(f) != 7 {
			t.Errorf("%s at %s: not the port that was asked for", tt.url, tt.listen)
		}
	}
}
