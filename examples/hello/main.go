// Hello serves a web page on a mesh:
//
//	go run ./examples/hello -control https://mesh.example.com -authkey KEY
//	curl http://hello/        from any machine of the mesh
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"

	"github.com/meshnet-go/meshnet"
)

func main() {
	srv := &meshnet.Server{Hostname: "hello", Dir: "hello-state"}
	flag.StringVar(&srv.ControlURL, "control", "", "URL of the coordinator")
	flag.StringVar(&srv.AuthKey, "authkey", "", "auth key, for the first start")
	flag.Parse()
	srv.OnAuthURL = func(url string) { log.Print("sign in at ", url) }
	defer srv.Close()

	ln, err := srv.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	status, err := srv.Up(context.Background())
	if err != nil {
		log.Fatal(err) // says what is missing
	}
	log.Printf("serving http://%s/", status.Self.Name)
	log.Fatal(http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := srv.WhoIs(r.Context(), r.RemoteAddr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, "hello, %s\n", who.Node.Name)
	})))
}
