package meshnet_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// startMesh starts a coordinator and a relay on loopback, which the examples
// use in place of a real mesh. It returns what a node needs to join.
func startMesh() (controlURL, authKey string, stop func()) {
	_, controlURL, authKey, stop = startCoordinator()
	return controlURL, authKey, stop
}

func startCoordinator() (coordinator *coord.Server, controlURL, authKey string, stop func()) {
	relay := derp.NewServer(derp.ServerConfig{})
	cert, certName, err := derp.SelfSigned("127.0.0.1")
	if err != nil {
		log.Fatal(err)
	}
	relayServer := httptest.NewUnstartedServer(relay)
	relayServer.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	relayServer.Config.ErrorLog = log.New(io.Discard, "", 0)
	relayServer.StartTLS()

	coordinator, err = coord.New(coord.Config{DERPMap: &derpmap.Map{Regions: map[int]*derpmap.Region{1: {
		RegionID: 1, RegionCode: "here",
		Nodes: []*derpmap.Node{{
			Name: "1a", RegionID: 1, HostName: "127.0.0.1", CertName: certName, STUNPort: -1,
			DERPPort: relayServer.Listener.Addr().(*net.TCPAddr).Port,
		}},
	}}}})
	if err != nil {
		log.Fatal(err)
	}
	control := httptest.NewServer(coordinator)
	authKey, err = coordinator.CreateAuthKey(context.Background(), coord.AuthKeyOptions{Reusable: true})
	if err != nil {
		log.Fatal(err)
	}
	return coordinator, control.URL, authKey, func() {
		coordinator.Close()
		control.Close()
		relay.Close()
		relayServer.Close()
	}
}

// Two nodes of one mesh: a web server, which asks who its visitors are, and a
// visitor.
func Example() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	web := &meshnet.Server{Hostname: "web", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer web.Close()
	ln, err := web.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := web.WhoIs(r.Context(), r.RemoteAddr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, "hello, %s", who.Node.Name)
	}))
	if _, err := web.Up(context.Background()); err != nil {
		log.Fatal(err)
	}

	visitor := &meshnet.Server{Hostname: "visitor", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer visitor.Close()
	resp, err := visitor.HTTPClient().Get("http://web/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Printf("%s\n", body)
	// Output: hello, visitor.mesh.internal
}

// Up says at once what only a person can mend.
func ExampleServer_Up() {
	controlURL, _, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: "a key that nobody made", Ephemeral: true}
	defer srv.Close()
	_, err := srv.Up(context.Background())
	if refused, ok := errors.AsType[*meshnet.RefusedError](err); ok {
		fmt.Println("refused:", refused.Reason != "")
	}
	// Output: refused: true
}

func ExampleServer_Listen() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	ln, err := srv.Listen("tcp", ":0") // any free port, IPv4 and IPv6
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "good day")
	}()

	// Any node of the mesh may dial it, this one too.
	if _, err := srv.Up(context.Background()); err != nil {
		log.Fatal(err)
	}
	conn, err := srv.Dial(context.Background(), "tcp", fmt.Sprintf("node:%d", ln.Addr().(*net.TCPAddr).Port))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	text, _ := io.ReadAll(conn)
	fmt.Printf("%s\n", text)
	// Output: good day
}

// Dial knows the mesh and nothing else, and its errors are those of package
// net.
func ExampleServer_Dial() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	_, err := srv.Dial(context.Background(), "tcp", "example.com:80")
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok && dnsErr.IsNotFound {
		fmt.Println(err)
	}
	// Output: dial tcp: lookup example.com: no such name in the mesh
}

func ExampleServer_ListenPacket() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	pc, err := srv.ListenPacket("udp", ":7")
	if err != nil {
		log.Fatal(err)
	}
	go func() { // an echo
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			pc.WriteTo(buf[:n], from)
		}
	}()

	conn, err := srv.Dial(context.Background(), "udp", "node:7")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "hello")
	buf := make([]byte, 1500)
	n, err := conn.Read(buf)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", buf[:n])
	// Output: hello
}

func ExampleServer_HTTPClient() {
	srv := &meshnet.Server{
		Hostname:   "visitor",
		ControlURL: "https://mesh.example.com",
		AuthKey:    "…", // needed once
		Dir:        "visitor-state",
	}
	defer srv.Close()
	resp, err := srv.HTTPClient().Get("http://web/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
}

func ExampleServer_WhoIs() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	status, err := srv.Up(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	who, err := srv.WhoIs(context.Background(), status.Self.Addresses[0].String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(who.Node.Name, who.Node.Tags)
	// Output: node.mesh.internal []
}

// A node with the same Store is the same node in its next run. Memory does where
// that is in the same process, as in tests.
func ExampleNewMemoryStore() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	store := meshnet.NewMemoryStore()
	for range 2 {
		srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Store: store}
		status, err := srv.Up(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(status.Self.Name, status.Self.Addresses[0])
		srv.Close()
	}
	// Output:
	// node.mesh.internal 100.64.0.1
	// node.mesh.internal 100.64.0.1
}
