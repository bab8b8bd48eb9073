package meshtest_test

import (
	"testing"

	"github.com/meshnet-go/meshnet/meshtest"
)

// BenchmarkTwoNodes is how long it takes until a mesh is there and two nodes
// behind NATs are up, and know each other.
func BenchmarkTwoNodes(b *testing.B) {
	for b.Loop() {
		t := new(exampleT)
		mesh := meshtest.New(t)
		mesh.Node("a", meshtest.NAT(meshtest.EasyNAT))
		mesh.Node("b", meshtest.NAT(meshtest.EasyNAT))
		b.StopTimer()
		t.end()
		b.StartTimer()
	}
}

// BenchmarkLifeOfAMesh is BenchmarkTwoNodes until everything is over.
func BenchmarkLifeOfAMesh(b *testing.B) {
	for b.Loop() {
		t := new(exampleT)
		mesh := meshtest.New(t)
		mesh.Node("a", meshtest.NAT(meshtest.EasyNAT))
		mesh.Node("b", meshtest.NAT(meshtest.EasyNAT))
		t.end()
	}
}

// BenchmarkAnotherNode is how long a mesh of ten nodes takes to have one more.
func BenchmarkAnotherNode(b *testing.B) {
	t := new(exampleT)
	defer t.end()
	mesh := meshtest.New(t)
	for range 10 {
		mesh.Node("n")
	}
	for b.Loop() {
		node := mesh.Node("another")
		b.StopTimer()
		node.Close()
		b.StartTimer()
	}
}
