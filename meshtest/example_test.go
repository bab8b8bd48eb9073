package meshtest_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/meshtest"
)

// exampleT stands in for the *testing.T that a test has, and an Example has not.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (t *exampleT) Helper()                           {}
func (t *exampleT) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (t *exampleT) Output() io.Writer                 { return os.Stderr }

func (t *exampleT) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}

// serve has a node answer everybody who asks, with their name.
func serve(node *meshnet.Server) {
	ln, err := node.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := node.WhoIs(r.Context(), r.RemoteAddr)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprintln(w, "hello,", who.Node.Name)
	}))
}

// get prints the page that another node serves.
func get(node *meshnet.Server, url string) {
	client := node.HTTPClient()
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", page)
}

// A web server on one node, asked by another.
func Example() {
	t := new(exampleT) // in a test it is there already
	defer t.end()

	mesh := meshtest.New(t)
	server := mesh.Node("server")
	serve(server)
	client := mesh.Node("client", meshtest.NAT(meshtest.HardNAT))
	get(client, "http://server/")
	// Output: hello, client.mesh.internal
}

// Which nodes find a direct path depends on where they are.
func ExampleMesh_WaitDirect() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t)
	home := mesh.Node("home", meshtest.NAT(meshtest.EasyNAT))
	cafe := mesh.Node("cafe", meshtest.NAT(meshtest.EasyNAT))
	mesh.WaitDirect(home, cafe)
	fmt.Println("home to cafe is direct:", mesh.Path(home, cafe).Direct.IsValid())

	office := mesh.Node("office", meshtest.NAT(meshtest.UDPBlocked))
	mesh.WaitRelayed(home, office)
	fmt.Println("home to office:", mesh.Path(home, office))
	// Output:
	// home to cafe is direct: true
	// home to office: relay here
}

// Nodes in one network reach each other without the internet.
func ExampleMesh_Network() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t)
	home := mesh.Network(meshtest.HardNAT)
	laptop := mesh.Node("laptop", meshtest.In(home))
	printer := mesh.Node("printer", meshtest.In(home))
	mesh.WaitDirect(laptop, printer)
	fmt.Println(mesh.Path(laptop, printer).Direct.Addr())
	// Output: 192.168.1.3
}

// A network that lets no UDP through costs the direct path, and nothing else.
func ExampleNetwork_BlockUDP() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t)
	hotel := mesh.Network(meshtest.EasyNAT)
	guest := mesh.Node("guest", meshtest.In(hotel))
	server := mesh.Node("server")
	serve(server)
	hotel.BlockUDP(true)
	get(guest, "http://server/")
	fmt.Println(mesh.Path(guest, server))
	// Output:
	// hello, guest.mesh.internal
	// relay here
}

// What is sent while a node is cut off arrives when it no longer is.
func ExampleMesh_Cut() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t)
	server, client := mesh.Node("server"), mesh.Node("client")
	serve(server)
	mesh.Cut(client)
	time.AfterFunc(100*time.Millisecond, func() { mesh.Heal(client) })
	get(client, "http://server/")
	// Output: hello, client.mesh.internal
}

// A laptop that goes from home to a mobile network keeps its connections.
func ExampleMesh_Move() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t)
	server := mesh.Node("server")
	laptop := mesh.Node("laptop", meshtest.NAT(meshtest.EasyNAT))
	ln, err := server.Listen("tcp", ":7")
	if err != nil {
		log.Fatal(err)
	}
	go func() { // an echo
		conn, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(conn, conn)
	}()
	conn, err := laptop.Dial(context.Background(), "tcp", "server:7")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	buf := make([]byte, 4)
	for _, word := range []string{"home", "away"} {
		io.WriteString(conn, word)
		io.ReadFull(conn, buf)
		fmt.Printf("%s\n", buf)
		mesh.Move(laptop, mesh.Network(meshtest.HardNAT))
	}
	// Output:
	// home
	// away
}

// The link of a node may be slow, and may become so.
func ExampleMesh_SetLink() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t)
	server := mesh.Node("server")
	serve(server)
	far := mesh.Node("far", meshtest.Over(meshtest.Link{Latency: 5 * time.Millisecond, Loss: 0.01}))
	get(far, "http://server/")
	mesh.SetLink(far, meshtest.Link{Latency: 20 * time.Millisecond, BitsPerSecond: 1_000_000})
	start := time.Now()
	get(far, "http://server/")
	fmt.Println("two round trips, at the least:", time.Since(start) >= 80*time.Millisecond)
	// Output:
	// hello, far.mesh.internal
	// hello, far.mesh.internal
	// two round trips, at the least: true
}

// Nodes that have found each other need no relay, until they lose each other.
func ExampleMesh_StopRelays() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t)
	server, client := mesh.Node("server"), mesh.Node("client")
	serve(server)
	mesh.WaitDirect(client, server)
	mesh.StopRelays()
	get(client, "http://server/")
	mesh.StartRelays()
	// Output: hello, client.mesh.internal
}

// Nodes that know each other need no coordinator; those that come do.
func ExampleMesh_StopCoordinator() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t)
	server, client := mesh.Node("server"), mesh.Node("client")
	serve(server)
	mesh.StopCoordinator()
	get(client, "http://server/")

	mesh.StartCoordinator()
	late := mesh.Node("late")
	get(late, "http://server/")
	// Output:
	// hello, client.mesh.internal
	// hello, late.mesh.internal
}

// The administrator of the mesh is the test.
func ExampleMesh_Coordinator() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t)
	mesh.Node("old")
	for _, node := range mesh.Coordinator().Nodes() {
		if err := mesh.Coordinator().RenameNode(context.Background(), node.ID, "new"); err != nil {
			log.Fatal(err)
		}
	}
	for _, node := range mesh.Coordinator().Nodes() {
		fmt.Println(node.Name)
	}
	// Output: new.mesh.internal
}

// A policy says who reaches whom, in the words of users and tags.
func ExamplePolicy() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t, meshtest.Policy(`{
		"tagOwners": {"tag:web": []},
		"grants": [{"src": ["alice@"], "dst": ["tag:web"], "ip": ["tcp:80"]}],
	}`))
	web := mesh.Node("web", meshtest.Tags("tag:web"))
	serve(web)
	alice := mesh.Node("alices", meshtest.User("alice"))
	bob := mesh.Node("bobs", meshtest.User("bob"))
	get(alice, "http://web/")
	_, err := bob.Dial(context.Background(), "tcp", "web:80")
	fmt.Println(err)
	// Output:
	// hello, alices.mesh.internal
	// dial tcp: lookup web: no such name in the mesh
}

// With several regions, each node has the nearest relay as its home.
func ExampleRegions() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t, meshtest.Regions(10*time.Millisecond, "fra", "nyc"))
	a := mesh.Node("a", meshtest.NAT(meshtest.HardNAT))
	b := mesh.Node("b", meshtest.NAT(meshtest.HardNAT), meshtest.Near("nyc"))
	mesh.WaitRelayed(a, b)
	fmt.Println("a to b:", mesh.Path(a, b))
	fmt.Println("b to a:", mesh.Path(b, a))
	// Output:
	// a to b: relay nyc
	// b to a: relay fra
}

// The configuration of the coordinator may be changed before it starts.
func ExampleCoordinator() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t, meshtest.Coordinator(func(c *coord.Config) { c.Domain = "example.test" }))
	node := mesh.Node("node")
	fmt.Println(node.Status().Self.Name)
	// Output: node.example.test
}

// A node that restarts with its Store is the node that it was.
func ExampleConfigure() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t)
	store := meshnet.NewMemoryStore()
	keep := meshtest.Configure(func(s *meshnet.Server) { s.Store = store })
	for range 2 {
		node := mesh.Node("node", keep)
		fmt.Println(node.Status().Self.Name)
		node.Close()
	}
	// Output:
	// node.mesh.internal
	// node.mesh.internal
}

// A node that is not started is for tests of what happens then.
func ExampleNotStarted() {
	t := new(exampleT)
	defer t.end()

	mesh := meshtest.New(t)
	node := mesh.Node("node", meshtest.NotStarted())
	fmt.Println(node.Status().State)
	if _, err := node.Up(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(node.Status().State)
	// Output:
	// stopped
	// running
}
