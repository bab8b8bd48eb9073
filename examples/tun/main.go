// Tun puts the mesh on a network interface of this machine, so that all of its
// programs use it: ping, ssh, a browser. It is for Linux, and takes root.
//
//	export MESHNET_AUTHKEY=...
//	sudo -E go run ./examples/tun -control https://mesh.example.com
//	ping 100.64.0.2
//
// Names of the mesh are not the system's: the program prints those of the peers
// with their addresses, in the form of /etc/hosts.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/meshnet-go/meshnet"
)

// mtu is what every path of the mesh carries.
const mtu = 1280

func main() {
	srv := &meshnet.Server{}
	flag.StringVar(&srv.ControlURL, "control", os.Getenv("MESHNET_CONTROL"), "URL of the coordinator")
	flag.StringVar(&srv.Hostname, "hostname", "", "name of this node in the mesh")
	flag.StringVar(&srv.Dir, "state", "tun-state", "directory for the node's keys")
	flag.BoolVar(&srv.AcceptRoutes, "accept-routes", false, "use the routes of subnet routers")
	name := flag.String("name", "mesh0", "name of the network interface")
	flag.Parse()
	srv.AuthKey = os.Getenv("MESHNET_AUTHKEY")
	srv.OnAuthURL = func(url string) { log.Print("sign in at ", url) }

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, srv, *name); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// run has the interface until ctx ends. With the device the kernel removes its
// addresses and routes.
func run(ctx context.Context, srv *meshnet.Server, name string) error {
	device, err := tun.CreateTUN(name, mtu)
	if err != nil {
		return err
	}
	srv.Tun = device
	defer srv.Close()
	status, err := srv.Up(ctx)
	if err != nil {
		return err
	}
	if err := ip("link", "set", name, "up"); err != nil {
		return err
	}
	for _, p := range status.Peers {
		for _, addr := range p.Addresses {
			fmt.Printf("%v\t%s\n", addr, p.Name)
		}
	}
	var has []setting
	for status := range srv.Watch(ctx) {
		if has, err = configure(name, has, settings(status)); err != nil {
			return err
		}
	}
	return nil
}

// A setting is something that an interface has: an "address" or a "route".
type setting struct{ kind, prefix string }

// settings are the node's addresses, and routes to all that the mesh leads to.
func settings(s *meshnet.Status) (wanted []setting) {
	for _, addr := range s.Self.Addresses {
		wanted = append(wanted, setting{"address", netip.PrefixFrom(addr, addr.BitLen()).String()})
	}
	wanted = append(wanted, setting{"route", "100.64.0.0/10"}, setting{"route", "fd7a:115c:a1e0::/48"})
	for _, p := range s.Peers {
		for _, route := range p.Routes {
			wanted = append(wanted, setting{"route", route.String()})
		}
	}
	return wanted
}

// configure gives the interface what is wanted, and takes from it what it has
// and is not. It returns what the interface has then.
func configure(name string, has, wanted []setting) ([]setting, error) {
	for _, s := range has {
		if slices.Contains(wanted, s) {
			continue
		}
		if err := ip(s.kind, "delete", s.prefix, "dev", name); err != nil {
			return has, err
		}
	}
	for _, s := range wanted {
		if slices.Contains(has, s) {
			continue
		}
		if err := ip(s.kind, "replace", s.prefix, "dev", name); err != nil {
			return has, err
		}
	}
	return wanted, nil
}

// ip runs the command of that name, from iproute2.
func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}
