package coord

import "sync"

// work counts what has to come to an end before the server has. The zero value
// is ready.
type work struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// begin counts one more, or reports false because it is too late for that.
func (w *work) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.wg.Add(1)
	}
	return !w.closed
}

func (w *work) end() { w.wg.Done() }

// run counts f, in a goroutine.
func (w *work) run(f func()) {
	if w.begin() {
		go func() {
			defer w.end()
			f()
		}()
	}
}

// wait lets nothing more begin and returns when all has ended.
func (w *work) wait() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wg.Wait()
}
