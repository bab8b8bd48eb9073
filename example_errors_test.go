package meshnet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"

	"github.com/meshnet-go/meshnet"
)

// What Up cannot mend by itself has a type, for programs that can.
func ExampleNeedsLoginError() {
	controlURL, _, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, Ephemeral: true} // without an AuthKey
	defer srv.Close()
	_, err := srv.Up(context.Background())
	needsLogin, ok := errors.AsType[*meshnet.NeedsLoginError](err)
	switch {
	case ok:
		fmt.Println("show a person the page", needsLogin.URL != "")
	case errors.Is(err, meshnet.ErrTailnetLock):
		fmt.Println("ask whether the coordinator is to be trusted alone: AllowUnsignedPeers")
	case errors.Is(err, meshnet.ErrControlKeyChanged):
		fmt.Println("ask whether the coordinator was set up anew")
	}
	// Output: show a person the page true
}

// A server that listens in the mesh and elsewhere, too.
func ExamplePeerOf_elsewhere() {
	conn, _ := net.Pipe()
	defer conn.Close()
	_, err := meshnet.PeerOf(conn)
	fmt.Println(errors.Is(err, meshnet.ErrNotMesh))
	// Output: true
}

// The files of a node, for a Store that does more than keep them.
func ExampleNewFileStore() {
	dir, err := os.MkdirTemp("", "node-state")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := meshnet.NewFileStore(dir)
	if err != nil {
		log.Fatal(err)
	}
	srv := &meshnet.Server{Hostname: "node", ControlURL: "https://mesh.example.com", Store: store}
	defer srv.Close()
	fmt.Println(srv.Status().State)
	// Output: stopped
}

// A program that has a dialer of its own, for a proxy or a wrapped network, has
// the node use it for coordinator and relays; and counts.
func ExampleUnderlay() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	dialled := make(chan string, 100)
	srv := &meshnet.Server{
		Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true,
		Underlay: meshnet.Underlay{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialled <- addr
				return new(net.Dialer).DialContext(ctx, network, addr)
			},
		},
	}
	defer srv.Close()
	if _, err := srv.Up(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("coordinator and relay:", len(dialled) >= 2)
	// Output: coordinator and relay: true
}
