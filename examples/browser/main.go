// Browser is a mesh with a web page in it. It starts a coordinator, a relay and a
// node that serves HTTP, and a page in which your browser becomes a node as well:
// it fetches from the others, talks to them, and serves them pages of its own.
//
//	go run ./examples/browser
//
// It needs Go, a browser, and nothing else.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/examples/browser/page"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "loopback `ADDRESS` of the page")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *listen); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen string) error {
	start := time.Now()
	say("compiling the node for browsers, which takes minutes the first time …")
	program, err := page.Build(ctx, ".")
	if err != nil {
		return err
	}
	say("compiled in %v: %.1f MB, a fourth of that when compressed", time.Since(start).Round(time.Millisecond), float64(program.Size())/1e6)

	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	defer ln.Close()
	relay, err := startRelay(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer relay.close()
	coordinator, err := coord.New(coord.Config{DERPMap: &derpmap.Map{
		Regions: map[int]*derpmap.Region{
			relay.node.RegionID: {RegionID: relay.node.RegionID, RegionCode: "local", RegionName: "This machine", Nodes: []*derpmap.Node{relay.node}},
		},
		OmitDefaultRegions: true,
	}})
	if err != nil {
		return err
	}
	defer coordinator.Close()
	authKey, err := coordinator.CreateAuthKey(ctx, coord.AuthKeyOptions{Reusable: true})
	if err != nil {
		return err
	}
	m := mesh{url: "http://" + ln.Addr().String(), key: coordinator.PublicKey().String(), authKey: authKey}

	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer proxy.Close()
	handler, err := page.Handler(page.Config{
		Program:     program,
		Coordinator: coordinator,
		Servers:     []string{relay.addr()},
		Hosts:       []string{ln.Addr().String(), fmt.Sprintf("localhost:%d", port(ln.Addr()))},
		Node:        page.Node{ControlKey: m.key, AuthKey: authKey, Hostname: "page"},
		Proxy:       proxy.Addr().String(),
	})
	if err != nil {
		return err
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	defer web.Close()
	go web.Serve(ln)
	return m.serve(ctx, proxy)
}

// A mesh is what a node needs to join one.
type mesh struct{ url, key, authKey string }

// serve runs the nodes of this machine until ctx ends.
func (m mesh) serve(ctx context.Context, proxy net.Listener) error {
	node, err := m.join(ctx, "web")
	if err != nil {
		return err
	}
	defer node.Close()
	if err := serveWeb(node); err != nil {
		return err
	}
	if err := serveTerminal(node); err != nil {
		return err
	}
	door, err := m.join(ctx, "proxy")
	if err != nil {
		return err
	}
	defer door.Close()
	say("")
	say("The page:              %s", m.url)
	say("When it is open, this asks the page's own web server:")
	say("  curl --proxy socks5h://%s http://page/", proxy.Addr())
	say("")
	return door.SOCKS5().Serve(ctx, proxy)
}

func (m mesh) join(ctx context.Context, name string) (*meshnet.Server, error) {
	node := &meshnet.Server{Hostname: name, ControlURL: m.url, ControlKey: m.key, AuthKey: m.authKey, Ephemeral: true}
	if _, err := node.Up(ctx); err != nil {
		node.Close()
		return nil, err
	}
	return node, nil
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func port(addr net.Addr) int { return addr.(*net.TCPAddr).Port }
