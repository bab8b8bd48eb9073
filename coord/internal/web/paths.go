package web

import (
	"math"
	"net/http"
	"slices"
	"time"
)

// Paths is what the page shows of who talks to whom.
type Paths struct {
	Domain string
	Pairs  []Path // of nodes that are online and see each other
	More   bool   // there may be more
}

// Path is how two nodes reach each other.
type Path struct {
	From, To Peer
	State    string // "direct", "relayed", "silent" or "unknown"
	Via      string // where, or through what
	Latency  time.Duration
	Measured time.Time // zero: never
	Err      string
}

// livePeriod is how often the pages load again that show what changes all the
// time, in seconds.
const livePeriod = 5

func (h *handler) paths(w http.ResponseWriter, r *http.Request, a *admin) {
	p := h.Coordinator.Paths()
	h.show(w, http.StatusOK, "paths.html", page{Title: "Who talks to whom", Admin: a, Refresh: livePeriod, Content: struct {
		*Paths
		Picture *picture
		Counts  map[string]int
	}{p, draw(p.Pairs), count(p.Pairs)}})
}

// count returns how many paths there are of each state.
func count(paths []Path) map[string]int {
	n := make(map[string]int)
	for _, p := range paths {
		n[p.State]++
	}
	return n
}

// A picture shows nodes in a circle, and a line for each path.
type picture struct {
	Top, Width, Height int // what of it is to be seen
	Dots               []dot
	Lines              []line
}

type dot struct {
	Peer
	X, Y         int
	TextX, TextY int
	Anchor       string // of the text: "start", "middle" or "end"
}

type line struct {
	Path
	X1, Y1, X2, Y2 int
	X, Y           int // in the middle
}

const (
	// maxDots is how many nodes a picture has room for.
	maxDots = 40

	pictureWidth  = 900 // units; names stand beside the circle
	pictureHeight = 560
	pictureRadius = 220
	pictureMargin = 40 // above and below
	textDistance  = 18
)

// Labels reports whether there is room for words on the lines.
func (p *picture) Labels() bool { return len(p.Lines) <= 6 }

// draw makes a picture of paths, or none when there is nothing to be seen or too
// much.
func draw(paths []Path) *picture {
	var peers []Peer
	for _, p := range paths {
		for _, peer := range []Peer{p.From, p.To} {
			if !slices.Contains(peers, peer) {
				peers = append(peers, peer)
			}
		}
		if len(peers) > maxDots {
			return nil
		}
	}
	if len(peers) == 0 {
		return nil
	}
	slices.SortFunc(peers, func(a, b Peer) int { return int(a.ID - b.ID) })
	pic := &picture{Top: pictureHeight, Width: pictureWidth}
	bottom := 0
	at := make(map[int64]dot)
	for i, peer := range peers {
		d := place(peer, 2*math.Pi*float64(i)/float64(len(peers)))
		at[peer.ID] = d
		pic.Dots = append(pic.Dots, d)
		pic.Top, bottom = min(pic.Top, d.Y-pictureMargin), max(bottom, d.Y+pictureMargin)
	}
	pic.Height = bottom - pic.Top
	for _, p := range paths {
		from, to := at[p.From.ID], at[p.To.ID]
		pic.Lines = append(pic.Lines, line{p, from.X, from.Y, to.X, to.Y, (from.X + to.X) / 2, (from.Y+to.Y)/2 - 6})
	}
	return pic
}

// place puts a node on the circle, and its name outside of that. The angle is
// from the left, clockwise.
func place(peer Peer, angle float64) dot {
	x, y := -math.Cos(angle), -math.Sin(angle)
	on := func(center int, c, radius float64) int { return center + int(math.Round(c*radius)) }
	d := dot{
		Peer:   peer,
		X:      on(pictureWidth/2, x, pictureRadius),
		Y:      on(pictureHeight/2, y, pictureRadius),
		TextX:  on(pictureWidth/2, x, pictureRadius+textDistance),
		TextY:  on(pictureHeight/2, y, pictureRadius+textDistance) + 5,
		Anchor: "middle",
	}
	switch {
	case x < -0.2:
		d.Anchor = "end"
	case x > 0.2:
		d.Anchor = "start"
	}
	return d
}
