package relay

import (
	"log/slog"

	"github.com/meshnet-go/meshnet/derp"
)

const (
	// maxNotices is how many notices of one connection are logged: a relay must
	// not be able to fill our log.
	maxNotices = 16
	// maxNotice is how much of a notice's text is logged, in bytes.
	maxNotice = 200
)

// notices logs what a relay says of itself on one connection.
type notices struct {
	log     *slog.Logger
	count   int
	problem string // as the relay has it; empty: none
}

func (n *notices) note(f derp.Frame) {
	problem := string(f.Data[:min(len(f.Data), maxNotice)])
	if f.Type == derp.FrameHealth && problem == n.problem {
		return
	}
	if n.count++; n.count > maxNotices {
		return
	}
	switch {
	case f.Type == derp.FrameRestarting:
		n.log.Info("relay: the relay restarts", "in", f.ReconnectIn)
	case problem == "":
		n.log.Info("relay: the relay speaks of no problem any more")
	default:
		n.log.Warn("relay: the relay speaks of a problem", "problem", problem)
	}
	if f.Type == derp.FrameHealth {
		n.problem = problem
	}
}
