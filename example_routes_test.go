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
)

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
