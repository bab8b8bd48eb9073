package netstack

import (
	"os"
	"time"

	"gvisor.dev/gvisor/pkg/log"
)

// quiet keeps gVisor from writing to the standard error of the program around
// us: a peer could make it warn of one packet after the other. gVisor's logger
// is one for the process, so that one which the program has set itself is left
// alone.
func quiet() {
	emitter, ok := log.Log().Emitter.(log.GoogleEmitter)
	if ok && emitter.Writer != nil && emitter.Next == os.Stderr {
		log.SetTarget(discard{})
	}
}

// discard is a logger that says nothing.
type discard struct{}

// Emit does nothing.
func (discard) Emit(int, log.Level, time.Time, string, ...any) {}
