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

func ExampleServer_Status() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	fmt.Println("before Start:", srv.Status().State)
	if err := srv.Start(); err != nil { // does not wait
		log.Fatal(err)
	}
	<-srv.Ready()
	status := srv.Status()
	ip4, _ := srv.IPs()
	fmt.Println(status.Self.Name, "is", status.State, "at", ip4)
	for _, peer := range status.Peers {
		fmt.Println(peer.Name, peer.Online, peer.Path)
	}
	srv.Close()
	fmt.Println("after Close:", srv.Status().State)
	// Output:
	// before Start: stopped
	// node.mesh.internal is running at 100.64.0.1
	// after Close: closed
}

func ExampleServer_Counters() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	if _, err := srv.Up(context.Background()); err != nil {
		log.Fatal(err)
	}
	counters := srv.Counters()
	fmt.Println(counters.PacketsSent, counters.BytesReceived, counters.Dropped["no rule"])
	// Output: 0 0 0
}

// A program that learns from its system that the network is another one says so.
func ExampleServer_NetworkChanged() {
	srv := &meshnet.Server{Hostname: "node", ControlURL: "https://mesh.example.com", Dir: "node-state"}
	defer srv.Close()
	networks := make(chan string, 1) // of the system's
	networks <- "another wireless network"
	fmt.Println(<-networks)
	srv.NetworkChanged()
	// Output: another wireless network
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
