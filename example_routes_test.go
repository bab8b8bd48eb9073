package meshnet_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
)

// A subnet router without root is the five lines of AdvertiseRoutes and Router.
// Its coordinator approves the routes, and others accept them.
func ExampleRouter() {
	coordinator, controlURL, authKey, stop := startCoordinator()
	defer stop()

	office := &meshnet.Server{
		Hostname: "office", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true,
		AdvertiseRoutes: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")},
		Router:          &meshnet.Router{DialContext: dialPrinter}, // new(meshnet.Router) for the host's network
	}
	defer office.Close()
	status, err := office.Up(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	approve(coordinator, status)

	laptop := &meshnet.Server{Hostname: "laptop", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true, AcceptRoutes: true}
	defer laptop.Close()
	conn, err := laptop.Dial(context.Background(), "tcp", "192.168.1.7:631")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	text, _ := io.ReadAll(conn)
	fmt.Printf("%s\n", text)
	// Output: this is the printer, 192.168.1.7:631
}

// approve lets the mesh use all routes that a node advertises.
func approve(coordinator *coord.Server, status *meshnet.Status) {
	for _, n := range coordinator.Nodes() {
		if n.Key != status.Self.Key {
			continue
		}
		if err := coordinator.ApproveRoutes(context.Background(), n.ID, netip.MustParsePrefix("192.168.1.0/24")); err != nil {
			log.Fatal(err)
		}
	}
}

// dialPrinter stands in for the network of an office.
func dialPrinter(_ context.Context, _, address string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		fmt.Fprintf(far, "this is the printer, %s", address)
		far.Close()
	}()
	return near, nil
}

// A node takes connections to any of its ports, and says which one it was.
func ExampleServer_RegisterFallbackTCPHandler() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	deregister := srv.RegisterFallbackTCPHandler(func(src, dst netip.AddrPort) (func(net.Conn), bool) {
		if dst.Port() < 1024 {
			return nil, true // refused
		}
		return func(conn net.Conn) {
			defer conn.Close()
			fmt.Fprintf(conn, "this is port %d", dst.Port())
		}, true
	})
	defer deregister()
	if _, err := srv.Up(context.Background()); err != nil {
		log.Fatal(err)
	}

	conn, err := srv.Dial(context.Background(), "tcp", "node:4711")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	text, _ := io.ReadAll(conn)
	fmt.Printf("%s\n", text)
	_, err = srv.Dial(context.Background(), "tcp", "node:22")
	fmt.Println(strings.Contains(err.Error(), "refused"))
	// Output:
	// this is port 4711
	// true
}

// A DNS server for every address of the node.
func ExampleServer_RegisterFallbackUDPHandler() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	srv.RegisterFallbackUDPHandler(func(src, dst netip.AddrPort) (func(net.Conn), bool) {
		return func(conn net.Conn) {
			defer conn.Close()
			question := make([]byte, 1500)
			n, err := conn.Read(question)
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "who knows %s", question[:n])
		}, dst.Port() == 53
	})
	if _, err := srv.Up(context.Background()); err != nil {
		log.Fatal(err)
	}

	conn, err := srv.Dial(context.Background(), "udp", "node:53")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "example.com")
	answer := make([]byte, 1500)
	n, err := conn.Read(answer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer[:n])
	// Output: who knows example.com
}
