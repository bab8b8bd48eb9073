// Subnet-router lets the nodes of a mesh reach the network that this machine is
// in, or the Internet through it, without root: connections are ended here and
// made anew from this machine's address.
//
//	export MESHNET_AUTHKEY=...
//	go run ./examples/subnet-router -control https://mesh.example.com 192.168.1.0/24
//	go run ./examples/subnet-router -control https://mesh.example.com -exit-node
//
// The coordinator must approve the routes. Nodes use them that accept routes, or
// choose this one as their exit node, and the mesh's policy says who may connect
// to what there.
package main

import (
	"context"
	"flag"
	"log"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"

	"github.com/meshnet-go/meshnet"
)

func main() {
	control := flag.String("control", os.Getenv("MESHNET_CONTROL"), "URL of the coordinator")
	exitNode := flag.Bool("exit-node", false, "lead to the Internet")
	dir := flag.String("state", "subnet-router-state", "directory for the node's keys")
	flag.Parse()
	var routes []netip.Prefix
	for _, arg := range flag.Args() {
		route, err := netip.ParsePrefix(arg)
		if err != nil {
			log.Fatal(err)
		}
		routes = append(routes, route)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	node := &meshnet.Server{
		Hostname:   "subnet-router",
		ControlURL: *control,
		AuthKey:    os.Getenv("MESHNET_AUTHKEY"),
		Dir:        *dir,
		Logger:     slog.Default(),

		AdvertiseRoutes:   routes,
		AdvertiseExitNode: *exitNode,
		Router:            new(meshnet.Router),
	}
	defer node.Close()
	if _, err := node.Up(ctx); err != nil {
		log.Print(err)
		return
	}
	<-ctx.Done()
}
