package meshtest

import (
	"testing"
	"time"
)

func TestQuick(t *testing.T) {
	start := time.Now()
	mesh := New(t)
	t.Log("mesh", time.Since(start))
	a := mesh.Node("a")
	t.Log("a", time.Since(start))
	b := mesh.Node("b", NAT(HardNAT))
	t.Log("b", time.Since(start))
	mesh.WaitDirect(a, b)
	t.Log("direct", time.Since(start))
}
