package derp_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// A relay with a certificate of its own, and two nodes that meet there.
func Example() {
	ctx := context.Background()
	cert, certName, err := derp.SelfSigned("127.0.0.1")
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	relay := derp.NewServer(derp.ServerConfig{})
	defer relay.Close()
	web := &http.Server{
		Handler:           relay,
		TLSConfig:         relay.TLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	defer web.Close()
	go web.ServeTLS(l, "", "")

	region := &derpmap.Region{RegionID: 900, Nodes: []*derpmap.Node{{
		Name:     "900a",
		RegionID: 900,
		HostName: "127.0.0.1",
		DERPPort: l.Addr().(*net.TCPAddr).Port,
		CertName: certName,
	}}}
	ann, bob := key.NewNode(), key.NewNode()
	a, err := derp.Dial(ctx, derp.DialConfig{Key: ann, Region: region})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	b, err := derp.Dial(ctx, derp.DialConfig{Key: bob, Region: region})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	a.Send(bob.Public(), []byte("hello"))
	if err := a.Flush(); err != nil {
		log.Fatal(err)
	}
	f, err := b.Recv()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s (from ann: %v)\n", f.Data, f.Peer == ann.Public())
	// Output: hello (from ann: true)
}
