// Quickstart brings up a whole mesh in one process, on loopback: a coordinator,
// a relay, and two nodes, of which one serves a web page and the other fetches
// it by name. It needs nothing installed and no root.
//
//	go run ./examples/quickstart
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/meshnet-go/meshnet"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	begin := time.Now()
	infra, err := startInfrastructure(ctx)
	if err != nil {
		return err
	}
	defer infra.close()
	say("coordinator", "at %s", infra.controlURL)
	say("relay", "at %s, its self-signed certificate pinned by the coordinator", infra.relayAddr)

	// Two nodes, each of which could be a program and a machine of its own.
	web, err := join(ctx, infra, "web")
	if err != nil {
		return err
	}
	defer web.Close()
	visitor, err := join(ctx, infra, "visitor")
	if err != nil {
		return err
	}
	defer visitor.Close()

	// One serves HTTP, on the mesh alone.
	ln, err := web.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	pages := &http.Server{Handler: greeter(web)}
	go pages.Serve(ln)
	defer pages.Close()
	say("web", "serves HTTP on %v of the mesh", ln.Addr())

	// The other fetches the page by name.
	say("visitor", "fetches http://web/")
	answer, err := fetch(ctx, visitor.HTTPClient(), "http://web/")
	if err != nil {
		return err
	}
	say("visitor", "got %q", answer)
	for _, p := range visitor.Status().Peers {
		say("visitor", "reaches %s by way of %v: %d bytes sent, %d received", p.Name, p.Path, p.BytesSent, p.BytesReceived)
	}
	fmt.Printf("ok: a page went through the mesh, %v after the start\n", time.Since(begin).Round(time.Millisecond))
	return nil
}

// join brings up a node. It is a new one in every run, as its keys are kept in
// memory.
func join(ctx context.Context, infra *infrastructure, name string) (*meshnet.Server, error) {
	node := &meshnet.Server{
		Hostname:   name,
		ControlURL: infra.controlURL,
		ControlKey: infra.controlKey,
		AuthKey:    infra.authKey,
		Ephemeral:  true,
	}
	status, err := node.Up(ctx)
	if err != nil {
		node.Close()
		return nil, err
	}
	say(name, "joined as %s with the addresses %v", status.Self.Name, status.Self.Addresses)
	return node, nil
}

// greeter greets whoever calls by the name that the mesh knows.
func greeter(node *meshnet.Server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := node.WhoIs(r.Context(), r.RemoteAddr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		say("web", "is asked for %s by %s", r.URL, who.Node.Name)
		fmt.Fprintf(w, "hello %s, this is web", who.Node.Name)
	})
}

func fetch(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the page came with %s: %s", resp.Status, body)
	}
	return string(body), err
}

func say(who, format string, args ...any) {
	fmt.Printf("%-12s %s\n", who, fmt.Sprintf(format, args...))
}

// anyPort is an address on loopback of the system's choosing.
const anyPort = "127.0.0.1:0"

func port(addr net.Addr) int {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a.Port
	case *net.UDPAddr:
		return a.Port
	}
	return 0
}
