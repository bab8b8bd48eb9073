package coord

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// probeInterval is how often a node that others route through is asked for a
// sign of life, and how long it may take to give one. A connection that ends is
// noticed anyway; one whose other end has lost its power is not, for a while.
const probeInterval = 5 * time.Second

// probe asks the node of a stream for signs of life.
type probe struct {
	timer    *time.Timer
	asked    string // the ping that was not answered yet, or ""
	answered bool   // it has answered one: it knows how
}

func newProbe() *probe {
	p := &probe{timer: time.NewTimer(time.Hour)}
	p.timer.Stop()
	return p
}

// follow asks for as long as the node is a primary router.
func (p *probe) follow(was, is *node) {
	switch {
	case len(is.Primary) == 0:
		p.timer.Stop()
		p.asked = ""
	case was == nil || len(was.Primary) == 0:
		p.timer.Reset(probeInterval)
	}
}

// ask returns the next frame that asks, or false when the last was not
// answered in time.
func (p *probe) ask(id tailcfg.NodeID) (*tailcfg.MapResponse, bool) {
	if p.asked != "" && p.answered {
		return nil, false
	}
	p.asked = rand.Text()
	p.timer.Reset(probeInterval)
	url := "https://coordinator/machine/pong?node=" + strconv.FormatInt(int64(id), 10) + "&ping=" + p.asked
	return &tailcfg.MapResponse{KeepAlive: true, PingRequest: &tailcfg.PingRequest{URL: url, URLIsNoise: true}}, true
}

// answer notes that a ping was answered.
func (p *probe) answer(ping string) {
	if ping == p.asked {
		p.asked, p.answered = "", true
	}
}

// servePong answers HEAD /machine/pong, with which a node answers a ping.
func (s *Server) servePong(w http.ResponseWriter, r *http.Request) {
	n := s.nodeOf(r)
	if n == nil {
		http.Error(w, "this machine has no such node", http.StatusNotFound)
		return
	}
	if st := s.streams.of(n.ID); st != nil {
		select {
		case st.pongs <- r.URL.Query().Get("ping"):
		default:
		}
	}
}
