package coord

import "sync"

// waiters are the registrations that wait for an administrator's decision on a
// login, whichever coordinator is told of it. The zero value is ready.
type waiters struct {
	mu      sync.Mutex
	byLogin map[string]*waiter
}

// waiter is what those wait on who wait for the same login.
type waiter struct {
	settled chan struct{}
	waiting int
}

// wait returns a channel that is closed when the login has been decided or is
// gone. stop must be called.
func (w *waiters) wait(login string) (settled <-chan struct{}, stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mine := w.byLogin[login]
	if mine == nil {
		mine = &waiter{settled: make(chan struct{})}
		if w.byLogin == nil {
			w.byLogin = make(map[string]*waiter)
		}
		w.byLogin[login] = mine
	}
	mine.waiting++
	return mine.settled, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if mine.waiting--; mine.waiting == 0 && w.byLogin[login] == mine {
			delete(w.byLogin, login)
		}
	}
}

// settle wakes those who wait for the logins.
func (w *waiters) settle(logins []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range logins {
		if mine := w.byLogin[id]; mine != nil {
			delete(w.byLogin, id)
			close(mine.settled)
		}
	}
}
