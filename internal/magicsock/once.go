package magicsock

import (
	"bytes"
	"sync"
)

// While a path is doubtful messages go by it and through the relay, and both
// may arrive at the same moment. WireGuard sorts out what it gets twice, but for
// responses to its handshake: two that it handles at once can make one session
// twice, which then uses its nonces twice.

// once tells the first of a peer's handshake messages from its copies.
type once struct {
	mu   sync.Mutex
	last [initiationSize]byte // the longest
}

// again reports whether a message is that of the last call. What is no message
// of a handshake never is.
func (o *once) again(message []byte) bool {
	if len(message) != initiationSize && len(message) != responseSize || message[0] > typeResponse {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if bytes.Equal(o.last[:len(message)], message) {
		return true
	}
	copy(o.last[:], message)
	return false
}
