package meshnet_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// startRelay starts a relay on this machine, such as `meshnet relay` serves.
func startRelay() (region *derpmap.Region, stop func()) {
	cert, certName, err := derp.SelfSigned("127.0.0.1")
	if err != nil {
		log.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		log.Fatal(err)
	}
	relay := derp.NewServer(derp.ServerConfig{})
	web := &http.Server{Handler: relay}
	go web.Serve(ln)
	node := &derpmap.Node{HostName: "127.0.0.1", CertName: certName, DERPPort: ln.Addr().(*net.TCPAddr).Port, STUNPort: -1}
	return &derpmap.Region{RegionCode: "here", Nodes: []*derpmap.Node{node}}, func() { web.Close(); relay.Close() }
}

// Two programs without a coordinator: one hands the other a token.
func ExamplePair() {
	relay, stop := startRelay()
	defer stop()

	pair, err := meshnet.NewPair(relay)
	if err != nil {
		log.Fatal(err)
	}
	host := &meshnet.Server{Pair: pair}
	defer host.Close()
	ln, err := host.Listen("tcp", ":5000")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, "what you are looking for")
			conn.Close()
		}
	}()
	token := pair.Token() // which the other program gets somehow

	pair, err = meshnet.ParsePair(token)
	if err != nil {
		log.Fatal(err)
	}
	guest := &meshnet.Server{Pair: pair}
	defer guest.Close()
	conn, err := guest.Dial(context.Background(), "tcp", "host:5000")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	said, err := io.ReadAll(conn)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", said)
	// Output: what you are looking for
}
