package meshnet_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/meshnet-go/meshnet"
)

// A program that shows where its node stands.
func ExampleServer_Watch() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	for status := range srv.Watch(context.Background()) {
		if status.State == meshnet.StateRunning {
			fmt.Println(status.Self.Name, "is", status.State)
			break
		}
	}
	// Output: node.mesh.internal is running
}

// Ready is for a select, where Up would block.
func ExampleServer_Ready() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	ctx := context.Background() // of the program
	select {
	case <-srv.Ready():
		fmt.Println("in the mesh")
	case <-ctx.Done():
	}
	// Output: in the mesh
}

func ExampleServer_Ping() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	var servers []*meshnet.Server
	for _, name := range []string{"here", "there"} {
		srv := &meshnet.Server{Hostname: name, ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
		defer srv.Close()
		if _, err := srv.Up(context.Background()); err != nil {
			log.Fatal(err)
		}
		servers = append(servers, srv)
	}
	ip, _ := servers[0].IPs()
	answer, err := servers[1].Ping(context.Background(), ip, meshnet.PingTSMP)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Name, answer.Latency > 0, answer.Path.String() != "none")
	// Output: here.mesh.internal true true
}

func ExampleServer_Netcheck() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	network, err := srv.Netcheck(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("home relay:", network.Home)
	// Output: home relay: here
}

// A web server would write them to its http.ResponseWriter.
func ExampleServer_WriteMetrics() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	if _, err := srv.Up(context.Background()); err != nil {
		log.Fatal(err)
	}
	var page strings.Builder
	if err := srv.WriteMetrics(&page); err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(page.String()) {
		if strings.HasPrefix(line, "meshnet_up") {
			os.Stdout.WriteString(line)
		}
	}
	// Output: meshnet_up 1
}
