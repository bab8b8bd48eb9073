// Socks5proxy joins a mesh and serves SOCKS5 and HTTP proxying on a local port,
// so that other programs on the machine reach the mesh:
//
//	go run ./examples/socks5proxy -control https://mesh.example.com -authkey KEY
//	curl --proxy socks5h://127.0.0.1:1080 http://hello/
//	curl --proxy http://127.0.0.1:1080 http://hello/
//
// The auth key may stand in MESHNET_AUTHKEY, and a password that clients must
// give in MESHNET_PROXY_PASSWORD, where other users of the machine do not see
// them.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/httpproxy"
	"github.com/meshnet-go/meshnet/socks5"
)

// grace is how long connections may go on after a signal.
const grace = 10 * time.Second

func main() {
	srv := &meshnet.Server{}
	flag.StringVar(&srv.ControlURL, "control", os.Getenv("MESHNET_CONTROL"), "URL of the coordinator")
	flag.StringVar(&srv.AuthKey, "authkey", "", "auth key, for the first start")
	flag.StringVar(&srv.Hostname, "hostname", "socks5proxy", "name of this node in the mesh")
	flag.StringVar(&srv.Dir, "state", "socks5proxy-state", "directory for the node's keys")
	listen := flag.String("listen", "127.0.0.1:1080", "where to serve")
	user := flag.String("user", "mesh", "user name that clients must give, when there is a password")
	flag.Parse()
	srv.AuthKey = cmp.Or(srv.AuthKey, os.Getenv("MESHNET_AUTHKEY")) // not the flag's default, which -h shows
	srv.OnAuthURL = func(url string) { log.Print("sign in at ", url) }

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	err := run(ctx, srv, *listen, *user, os.Getenv("MESHNET_PROXY_PASSWORD"))
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, srv *meshnet.Server, listen, user, password string) error {
	defer srv.Close()
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	// Clients who come before the node has joined wait. If the proxy cannot be
	// served, because it would be one for everybody, nothing is joined.
	proxy := newProxy(srv, user, password)
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { cancel(proxy.Serve(context.Background(), ln)) }()
	log.Printf("SOCKS5 and HTTP proxy on %v", ln.Addr())
	status, err := srv.Up(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	log.Printf("joined as %s with the addresses %v", status.Self.Name, status.Self.Addresses)

	<-ctx.Done()
	log.Printf("stopping: open connections have %v", grace)
	end, stop := context.WithTimeout(context.Background(), grace)
	defer stop()
	if proxy.Shutdown(end) != nil {
		log.Print("closed the connections that were left")
	}
	return context.Cause(ctx)
}

// newProxy serves both protocols on one port. An empty password lets everybody
// in who can reach it.
func newProxy(srv *meshnet.Server, user, password string) *httpproxy.Server {
	socks, proxy := srv.SOCKS5(), srv.HTTPProxy()
	if password != "" {
		socks.Auth = socks5.Credential(user, password)
		proxy.Auth = socks.Auth
	}
	proxy.SOCKS = socks.ServeConn
	return proxy
}
