package socks5_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"

	"github.com/meshnet-go/meshnet/socks5"
	"golang.org/x/net/proxy"
)

// listen returns a listener on a free port of loopback.
func listen() net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return ln
}

// greet is a target that says hello to one client.
func greet(ln net.Listener) {
	conn, err := ln.Accept()
	if err != nil {
		return
	}
	io.WriteString(conn, "hello")
	conn.Close()
}

// A proxy with a password, in front of a network that has one host.
func Example() {
	target := listen()
	defer target.Close()
	go greet(target)

	srv := &socks5.Server{
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "db.mesh:5432" {
				return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
			}
			return new(net.Dialer).DialContext(ctx, network, target.Addr().String())
		},
		Auth: socks5.Credential("ann", "secret"),
	}
	ln := listen()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), ln) }()

	client, err := proxy.SOCKS5("tcp", ln.Addr().String(), &proxy.Auth{User: "ann", Password: "secret"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := client.Dial("tcp", "db.mesh:5432")
	if err != nil {
		log.Fatal(err)
	}
	answer, _ := io.ReadAll(conn)
	conn.Close()
	fmt.Printf("%s\n", answer)

	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-served)
	// Output:
	// hello
	// socks5: server closed
}

// A proxy to the host's own network, with UDP and its resolver, but not to
// addresses that are private. Names are checked where their addresses are
// known: in Dial and in Resolve.
func ExampleServer_allow() {
	public := func(ip netip.Addr) error {
		if ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			return fmt.Errorf("%v is not a public address", ip)
		}
		return nil
	}
	resolve := func(ctx context.Context, network, host string) ([]netip.Addr, error) {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
		for _, ip := range addrs {
			err = errors.Join(err, public(ip.Unmap()))
		}
		return addrs, err
	}
	srv := &socks5.Server{
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			addrs, err := resolve(ctx, "ip", host)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(addrs[0].String(), port))
		},
		ListenPacket: new(net.ListenConfig).ListenPacket,
		Resolve:      resolve,
		Allow: func(_ context.Context, r *socks5.Request) error {
			if ip, err := netip.ParseAddr(r.Host); err == nil {
				return public(ip)
			}
			return nil
		},
	}
	for _, r := range []*socks5.Request{
		{Command: socks5.Connect, Host: "10.0.0.1", Port: 22},
		{Command: socks5.Connect, Host: "example.com", Port: 443},
		{Command: socks5.Associate},
	} {
		fmt.Printf("%v %q: %v\n", r.Command, r.Host, srv.Allow(context.Background(), r))
	}
	// Output:
	// CONNECT "10.0.0.1": 10.0.0.1 is not a public address
	// CONNECT "example.com": <nil>
	// UDP ASSOCIATE "": <nil>
}

func ExampleCredential() {
	auth := socks5.Credential("ann", "secret")
	fmt.Println(auth("ann", "secret"), auth("ann", "guess"))
	// Output: true false
}
