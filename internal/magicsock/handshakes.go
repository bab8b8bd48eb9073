package magicsock

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

// While a path is doubtful messages go by it and through the relay, and both
// may arrive at the same moment. WireGuard sorts out what it gets twice, but for
// responses to its handshake: two that it handles at once can make one session
// twice, which then uses its nonces twice.
//
// And two nodes that have something for each other at the same moment both begin
// a handshake, of which WireGuard makes no session: each side answers the other's
// initiation, has by that given up its own, and does not take the answer to it.
// Both begin again after 5 s, perhaps in step again. So initiations do not cross:
// when we have sent one, the peer's is for the loop to decide about, and while
// WireGuard is about to answer the peer's, we send none.

const (
	typeInitiation = 1
	initiationSize = 148
	typeResponse   = 2
	responseSize   = 92
)

const (
	// crossingTime is how long after ours a peer's initiation crosses it: longer
	// than nearly all answers take, much less than until WireGuard's next one.
	crossingTime = 500 * time.Millisecond

	// repeatTime is how long WireGuard waits for an answer (REKEY_TIMEOUT).
	repeatTime = 5 * time.Second

	// answeringTime is more than WireGuard needs to answer an initiation, and more
	// than one of its own, made before, takes to come to us behind the answer.
	answeringTime = 20 * time.Millisecond
)

// isInitiation reports whether a packet looks like the first of a WireGuard
// handshake.
func isInitiation(packet []byte) bool {
	return len(packet) == initiationSize && packet[0] == typeInitiation
}

// isResponse reports whether a packet looks like the second.
func isResponse(packet []byte) bool {
	return len(packet) == responseSize && packet[0] == typeResponse
}

// handshakes is what a peer and we exchange to begin sessions.
type handshakes struct {
	mu    sync.Mutex
	last  []byte // that was received; nil: none
	begun begun
	ours  []byte // that begun is about; nil: none
	asked origin // of the peer's last initiation

	// answering is when WireGuard last got an initiation or answered it, and zero
	// after that has kept one of ours.
	answering time.Time
}

// origin is where a message came from: the region of a relay, or an address on
// the underlay.
type origin struct {
	region int // 0: none
	addr   netip.AddrPort
}

// begun is a handshake that we began with a peer; zero when it is answered.
type begun struct {
	at    time.Time
	index uint32 // which names it in the answer
}

// maySend reports whether to send what WireGuard has for the peer. It sends
// messages of handshakes one by one. An answer goes also to where the peer has
// asked from: the peer may be another process, which does not know the path that
// we believe in, or not be connected to the relay yet, which is all that we have.
func (h *handshakes) maySend(packets [][]byte) (may bool, also origin) {
	if len(packets) != 1 {
		return true, origin{}
	}
	switch packet := packets[0]; {
	case isInitiation(packet):
		return h.begin(packet, time.Now()), origin{}
	case isResponse(packet):
		h.mu.Lock()
		defer h.mu.Unlock()
		h.answering = time.Now()
		return true, h.asked
	}
	return true, origin{}
}

// begin notes our initiation, unless the peer's is being answered, or was just now:
// WireGuard makes none for 5 s after its answer, so this one is of before, and the
// peer, which handles both at once, would make no session. It is no matter if the
// answer is lost: the next of ours is sent.
func (h *handshakes) begin(initiation []byte, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	answering := now.Sub(h.answering) < answeringTime
	h.answering = time.Time{}
	if !answering {
		h.begun = begun{now, binary.LittleEndian.Uint32(initiation[4:])}
		h.ours = append(h.ours[:0], initiation...)
	}
	return !answering
}

// renew says that our key is another, under which WireGuard begins at once.
func (h *handshakes) renew() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answering = time.Time{}
}

// unanswered returns our initiation, if it waits for its answer.
func (h *handshakes) unanswered(now time.Time) (initiation []byte, waits bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Clone(h.ours), now.Sub(h.begun.at) < repeatTime
}

// What to do with a packet of a peer.
type verdict int

const (
	take  verdict = iota // WireGuard gets it
	drop                 // it is a copy
	cross                // it is an initiation that crosses ours
)

// receive decides about a packet of the peer, and returns the handshake of ours
// that it crosses.
func (h *handshakes) receive(packet []byte, from origin) (verdict, begun) {
	initiation, response := isInitiation(packet), isResponse(packet)
	if !initiation && !response {
		return take, begun{}
	}
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case bytes.Equal(h.last, packet):
		return drop, begun{}
	case initiation && now.Sub(h.begun.at) < crossingTime:
		return cross, h.begun
	case initiation:
		h.answering, h.asked = now, from
	case h.begun.index == binary.LittleEndian.Uint32(packet[8:]):
		h.begun = begun{}
	}
	h.last = append(h.last[:0], packet...)
	return take, begun{}
}

// giveUp ends a handshake of ours, and reports whether it had no answer yet.
func (h *handshakes) giveUp(ours begun) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.begun != ours {
		return false
	}
	h.begun = begun{}
	return true
}
