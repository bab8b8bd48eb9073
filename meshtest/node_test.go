package meshtest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/meshtest"
)

func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	mesh := meshtest.New(t)
	var names []string
	for range 3 {
		names = append(names, mesh.Node("a").Status().Self.Name)
	}
	if want := []string{"a.mesh.internal", "a-1.mesh.internal", "a-2.mesh.internal"}; !slices.Equal(names, want) {
		t.Errorf("the nodes are %q, want %q", names, want)
	}
}

func TestUsersAndTags(t *testing.T) {
	t.Parallel()
	mesh := meshtest.New(t)
	for name, option := range map[string]meshtest.NodeOption{
		"user alice":  meshtest.User("alice"),
		"user alice ": meshtest.User("alice"), // is there already
		"user bob":    meshtest.User("bob"),
		"tags":        meshtest.Tags("tag:web", "tag:db"),
		"neither":     meshtest.NAT(meshtest.EasyNAT),
	} {
		self := mesh.Node("n", option).Status().Self
		t.Logf("%s: %q %q", name, self.User, self.Tags)
	}
	var got []string
	for _, n := range mesh.Coordinator().Nodes() {
		got = append(got, fmt.Sprint(n.User, n.Tags))
	}
	slices.Sort(got)
	if want := []string{"alice[]", "alice[]", "bob[]", "user[]", "user[tag:db tag:web]"}; !slices.Equal(got, want) {
		t.Errorf("the nodes are %q, want %q", got, want)
	}
}

// Everybody is at 192.168.1.2 and 100.64.0.1 in a mesh of their own.
func TestMeshesAreStrangers(t *testing.T) {
	for i := range 6 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			_, a, b := pair(t, meshtest.NAT(meshtest.EasyNAT), meshtest.NAT(meshtest.EasyNAT))
			wantReach(t, a, b)
			if n := len(a.Status().Peers); n != 1 {
				t.Errorf("a has %d peers, want b alone", n)
			}
		})
	}
}

func TestLinks(t *testing.T) {
	for name, link := range map[string]meshtest.Link{
		"latency":        {Latency: 5 * time.Millisecond, Jitter: time.Millisecond},
		"loss":           {Latency: time.Millisecond, Loss: 0.01},
		"small packets":  {MTU: 1360},
		"large packets":  {MTU: 9000},
		"ten megabits/s": {BitsPerSecond: 10_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mesh, a, b := pair(t, meshtest.Over(link), meshtest.NAT(meshtest.EasyNAT))
			mesh.WaitDirect(a, b)
			wantReach(t, a, b)
			wantReach(t, b, a)
		})
	}
}

func TestRegionsAreApart(t *testing.T) {
	t.Parallel()
	mesh := meshtest.New(t, meshtest.Regions(10*time.Millisecond, "fra", "nyc", "sgp"))
	a := mesh.Node("a")
	b := mesh.Node("b", meshtest.NAT(meshtest.Firewall), meshtest.Near("nyc"))
	c := mesh.Node("c", meshtest.In(mesh.NetworkNear("sgp", meshtest.HardNAT)))
	echo(t, c)
	homes := make(map[string]int)
	soon(t, "all homes are known", func() bool {
		for _, n := range mesh.Coordinator().Nodes() {
			homes[n.Hostname] = n.HomeDERP
		}
		return homes["a"] != 0 && homes["b"] != 0 && homes["c"] != 0
	})
	if homes["a"] != 1 || homes["b"] != 2 || homes["c"] != 3 {
		t.Errorf("the homes are %v, want that of a to be 1, of b 2, of c 3", homes)
	}
	mesh.WaitDirect(a, c)
	mesh.WaitDirect(a, b)
	wantReach(t, b, c)
	mesh.StopRelays("nyc")
	wantReach(t, a, c)
	mesh.Move(a, mesh.NetworkNear("sgp", meshtest.OpenInternet))
	wantReach(t, a, c)
}
