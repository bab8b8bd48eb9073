package web

import (
	"fmt"
	"testing"
)

// ring are paths between n nodes, each and the next.
func ring(n int) (paths []Path) {
	peer := func(i int) Peer { return Peer{ID: int64(i + 1), Name: fmt.Sprint("n", i)} }
	for i := range n {
		paths = append(paths, Path{From: peer(i), To: peer((i + 1) % n), State: "direct"})
	}
	return paths
}

func TestDraw(t *testing.T) {
	if p := draw(nil); p != nil {
		t.Error("there is a picture of nothing")
	}
	if p := draw(ring(maxDots + 1)); p != nil {
		t.Error("there is a picture with too many nodes")
	}
	for _, n := range []int{2, 3, 4, 7, maxDots} {
		p := draw(ring(n))
		if len(p.Dots) != n || len(p.Lines) != n {
			t.Fatalf("%d nodes: %d dots and %d lines", n, len(p.Dots), len(p.Lines))
		}
		places := make(map[[2]int]bool)
		for _, d := range p.Dots {
			places[[2]int{d.X, d.Y}] = true
			if d.X < 0 || d.X > p.Width || d.TextY < p.Top || d.TextY > p.Top+p.Height {
				t.Errorf("%d nodes: %s stands at %d, %d", n, d.Name, d.X, d.Y)
			}
			if outside := map[string]bool{"start": d.TextX > d.X, "end": d.TextX < d.X, "middle": d.TextY != d.Y}[d.Anchor]; !outside {
				t.Errorf("%d nodes: the name of %s is over the lines", n, d.Name)
			}
		}
		if len(places) != n {
			t.Errorf("%d nodes stand at %d places", n, len(places))
		}
		for _, l := range p.Lines {
			if !places[[2]int{l.X1, l.Y1}] || !places[[2]int{l.X2, l.Y2}] {
				t.Errorf("%d nodes: a line leads nowhere", n)
			}
		}
	}
}
