package meshnet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"

	"github.com/meshnet-go/meshnet"
)

// Whoever accepts a connection can ask who is at the other end.
func ExamplePeerOf() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	ln, err := srv.Listen("tcp", ":7")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		who, err := meshnet.PeerOf(conn)
		if err != nil {
			return
		}
		fmt.Fprintf(conn, "good day, %s", who.Node.Name)
	}()

	conn, err := srv.Dial(context.Background(), "tcp", "node:7")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	text, _ := io.ReadAll(conn)
	fmt.Printf("%s\n", text)
	// Output: good day, node.mesh.internal
}

// A web server that knows its visitors, by the connections that they come by.
func ExamplePeerOfRequest() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	ln, err := srv.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	web := &http.Server{
		ConnContext: meshnet.ConnContext,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who, err := meshnet.PeerOfRequest(r)
			if err != nil {
				http.Error(w, "members of the mesh only", http.StatusForbidden)
				return
			}
			fmt.Fprintf(w, "good day, %s", who.Node.Name)
		}),
	}
	go web.Serve(ln)
	defer web.Close()

	resp, err := srv.HTTPClient().Get("http://node/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	fmt.Printf("%s\n", text)
	// Output: good day, node.mesh.internal
}

// The mesh's policy says what a peer may do here, in the words of the
// application.
func ExampleCapabilities() {
	// who comes from PeerOf, PeerOfRequest or Server.WhoIs.
	who := &meshnet.WhoIs{Capabilities: map[string][]json.RawMessage{
		"example.com/cap/wiki": {json.RawMessage(`{"edit": ["/team/", "/notes/"]}`)},
	}}

	type grant struct {
		Edit []string `json:"edit"` // paths
	}
	grants, err := meshnet.Capabilities[grant](who, "example.com/cap/wiki")
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range grants {
		fmt.Println("may edit", g.Edit)
	}
	// Output: may edit [/team/ /notes/]
}

// A resolver looks up as Dial does, for programs that want to know before.
func ExampleServer_Resolver() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	resolver := srv.Resolver()
	addrs, err := resolver.LookupHost(context.Background(), "node")
	if err != nil {
		log.Fatal(err)
	}
	names, err := resolver.LookupAddr(context.Background(), addrs[0])
	if err != nil {
		log.Fatal(err)
	}
	ip4, err := resolver.LookupNetIP(context.Background(), "ip4", names[0])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(names, ip4)
	// Output: [node.mesh.internal.] [100.64.0.1]
}
