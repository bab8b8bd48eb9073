package relay

import (
	"time"

	"github.com/meshnet-go/meshnet/key"
)

const (
	// queueLen is room for two bursts of WireGuard's, which come in batches of
	// up to 128.
	queueLen = 256
	// maxWait is how long a packet waits for a connection: WireGuard has then
	// sent a newer handshake message.
	maxWait = 5 * time.Second
)

// outgoing is a packet on its way to a relay.
type outgoing struct {
	dst    key.NodePublic
	queued time.Time
	buf    *buffer
}

// queue is a bounded first-in, first-out queue. What is new pushes out what is
// oldest.
type queue struct {
	items [queueLen]outgoing
	head  int // index of the oldest
	n     int
}

func (q *queue) push(o outgoing) {
	if q.n == queueLen {
		old := q.pop()
		old.buf.release()
	}
	q.items[(q.head+q.n)%queueLen] = o
	q.n++
}

func (q *queue) pop() outgoing {
	o := q.items[q.head]
	q.items[q.head] = outgoing{}
	q.head = (q.head + 1) % queueLen
	q.n--
	return o
}

// take appends to dst what has not waited too long at the time now, and
// empties the queue.
func (q *queue) take(dst []outgoing, now time.Time) []outgoing {
	for q.n > 0 {
		if o := q.pop(); now.Sub(o.queued) <= maxWait {
			dst = append(dst, o)
		} else {
			o.buf.release()
		}
	}
	return dst
}
