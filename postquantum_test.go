package meshnet_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/meshtest"
)

// Nodes that want preshared keys have them with each other, and reach those that
// do not.
func TestPostQuantum(t *testing.T) {
	quantum := meshtest.Configure(func(s *meshnet.Server) { s.PostQuantum = true })
	mesh := meshtest.New(t)
	a, b, plain := mesh.Node("a", quantum), mesh.Node("b", quantum, meshtest.NAT(meshtest.EasyNAT)), mesh.Node("plain")
	for _, test := range []struct {
		from, to *meshnet.Server
		name     string
		want     bool
	}{
		{a, b, "b", true},
		{b, a, "a", true},
		{a, plain, "plain", false},
		{plain, b, "b", false},
	} {
		ln, err := test.to.Listen("tcp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			io.Copy(c, c)
		}()
		c, err := test.from.Dial(t.Context(), "tcp", test.name+":7")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "x")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		c.Close()
		ln.Close()
		i := slices.IndexFunc(test.from.Status().Peers, func(p meshnet.PeerStatus) bool { return strings.HasPrefix(p.Name, test.name+".") })
		if got := test.from.Status().Peers[i].PostQuantum; got != test.want {
			t.Errorf("there is a preshared key with %s: %v, want %v", test.name, got, test.want)
		}
	}
}
