// Fetch prints what a web server on a mesh answers:
//
//	go run ./examples/fetch -control https://mesh.example.com -authkey KEY http://hello/
//
// The node lives as long as that takes, and the mesh forgets it then.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"time"

	"github.com/meshnet-go/meshnet"
)

func main() {
	srv := &meshnet.Server{Hostname: "fetch", Ephemeral: true}
	flag.StringVar(&srv.ControlURL, "control", "", "URL of the coordinator")
	flag.StringVar(&srv.AuthKey, "authkey", "", "auth key")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("one URL is wanted, such as http://hello/")
	}
	if err := fetch(srv, flag.Arg(0)); err != nil {
		log.Fatal(err)
	}
}

func fetch(srv *meshnet.Server, url string) error {
	defer srv.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := srv.Up(ctx); err != nil {
		return err // says what is missing
	}
	resp, err := srv.HTTPClient().Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return resp.Write(os.Stdout)
}
