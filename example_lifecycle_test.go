package meshnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/meshnet-go/meshnet"
)

// A web server that finishes the requests under way, for ten seconds at most, and
// then leaves the mesh.
func ExampleServer_Shutdown() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "web", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	ln, err := srv.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	web := &http.Server{Handler: http.NotFoundHandler()}
	go web.Serve(ln)
	if _, err := srv.Up(context.Background()); err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	web.Shutdown(ctx) // the requests
	srv.Shutdown(ctx) // what else is open, and then the node
	fmt.Println(srv.Status().State)
	// Output: closed
}

// A program that renews the node's key a day before it expires.
func ExampleServer_Reauth() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	before, err := srv.Up(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if time.Until(before.Self.KeyExpiry) < 24*time.Hour {
		if err := srv.Reauth(context.Background()); err != nil {
			log.Print(err) // the node keeps its key
		}
	}
	after := srv.Status()
	fmt.Println("another key:", after.Self.Key != before.Self.Key)
	fmt.Println("the same node:", after.Self.ID == before.Self.ID)
	// Output:
	// another key: true
	// the same node: true
}

func ExampleServer_Logout() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Store: meshnet.NewMemoryStore()}
	defer srv.Close()
	if _, err := srv.Up(context.Background()); err != nil {
		log.Fatal(err)
	}
	if err := srv.Logout(context.Background()); err != nil {
		log.Print(err) // the coordinator has not heard it: the node is still a member
	}
	_, err := srv.Dial(context.Background(), "tcp", "peer:80")
	fmt.Println(errors.Is(err, meshnet.ErrLoggedOut))
	// Output: true
}

// Something that is no coordinator answers at the URL.
func ExampleControlURLError() {
	website := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "welcome")
	}))
	defer website.Close()

	srv := &meshnet.Server{ControlURL: website.URL, Ephemeral: true}
	defer srv.Close()
	_, err := srv.Up(context.Background())
	if wrong, ok := errors.AsType[*meshnet.ControlURLError](err); ok {
		fmt.Println(wrong.Advice)
	}
	// Output: check the scheme, the host and the port of ControlURL
}
