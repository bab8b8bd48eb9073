package meshtest

import (
	"sync"
	"testing"
)

// An output writes to the log of a test while that has one: to write to it
// after the test is a panic, and a goroutine that has been told to end may
// still have something to say.
type output struct {
	mu sync.Mutex
	t  testing.TB // nil: it has ended
}

func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.t == nil {
		return len(line), nil
	}
	return o.t.Output().Write(line)
}

func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.t = nil
}
