package coord_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/coord/boltstore"
)

// A coordinator is an http.Handler and a store.
func Example() {
	dir, err := os.MkdirTemp("", "coord")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	store, err := boltstore.Open(filepath.Join(dir, "coord.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	c, err := coord.New(coord.Config{Domain: "mesh.internal", Store: store})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: c}
	go srv.Serve(ln)
	defer srv.Close()

	authKey, err := c.CreateAuthKey(context.Background(), coord.AuthKeyOptions{Reusable: true, Lifetime: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	// A node joins with ControlURL, ControlKey and AuthKey:
	_, _, _ = "http://"+ln.Addr().String(), c.PublicKey(), authKey

	fmt.Println(len(c.Nodes()), "nodes")
	// Output: 0 nodes
}

// The nodes of an auth key can be told by their tags.
func ExampleServer_CreateAuthKey() {
	c, err := coord.New(coord.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	if _, err := c.CreateAuthKey(context.Background(), coord.AuthKeyOptions{Tags: []string{"tag:ci"}, Ephemeral: true, Reusable: true}); err != nil {
		log.Fatal(err)
	}
	keys, err := c.AuthKeys(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, k := range keys {
		fmt.Println(k.Tags, k.Uses)
	}
	// Output: [tag:ci] 0
}

// A policy says who may reach whom, and has tests of its own.
func ExampleServer_SetPolicy() {
	c, err := coord.New(coord.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx := context.Background()
	err = c.SetPolicy(ctx, []byte(`{
	"tagOwners": {"tag:web": [], "tag:db": []},
	"acls": [
		// only the web may ask the database
		{"action": "accept", "src": ["tag:web"], "dst": ["tag:db:5432"]},
	],
	"tests": [{"src": "tag:web", "proto": "tcp", "accept": ["tag:db:22"]}],
}`))
	var bad coord.PolicyError
	if errors.As(err, &bad) {
		fmt.Println("line", bad.Line, "of the policy is wrong")
	}
	fmt.Println(c.Status().Policy)
	// Output:
	// line 7 of the policy is wrong
	// every node may reach every other: there is no policy
}
