package meshnet_test

import (
	"context"
	"fmt"
	"log"

	"github.com/meshnet-go/meshnet"
)

// Names are looked up as Dial does.
func ExampleResolver() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	ctx := context.Background()
	addrs, err := srv.Resolver().LookupHost(ctx, "node")
	if err != nil {
		log.Fatal(err)
	}
	names, err := srv.Resolver().LookupAddr(ctx, addrs[0])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(addrs[0], names)
	// Output: 100.64.0.1 [node.mesh.internal.]
}
