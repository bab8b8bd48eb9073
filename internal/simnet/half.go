package simnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// window is how many bytes of a direction are under way or unread: a
	// writer waits when the reader is so far behind.
	window = 256 << 10
	// leastRoom is what a writer waits for, so that it does not wake for every
	// few bytes that are read.
	leastRoom = window / 4
	// piece is how much crosses a link at once.
	piece = 64 << 10
)

// A half is one direction of a connection. One end writes it, the other reads
// it.
type half struct {
	circuit *circuit
	wires   []*wire // on its way; none within a host

	// Guarded by Network.mu.
	last  time.Duration // when what was sent last arrives
	armed bool          // it is in the schedule
	done  bool          // its end or its failure has arrived

	mu        sync.Mutex
	readers   sync.Cond
	writers   sync.Cond
	buf       ring // sent and not read
	arrived   int  // bytes of buf that can be read
	flight    fifo[mark]
	notBefore time.Duration // when what was held up by a cut arrives
	writing   bool          // a Write has its turn
	ended     bool          // the writer has sent its end
	eof       bool          // and it has arrived
	err       error         // of a connection that has failed

	readClosed, writeClosed bool // by Close of the end that reads, or writes
	read, write             deadline
}

// A mark is a piece under way, or the end.
type mark struct {
	due   time.Duration
	bytes int
	end   bool
}

func (h *half) init(c *circuit, wires []*wire) {
	h.circuit, h.wires = c, wires
	h.readers.L, h.writers.L = &h.mu, &h.mu
}

// readInto is Read of the end that reads.
func (h *half) readInto(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readClosed:
			return 0, net.ErrClosed
		case h.read.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case h.arrived > 0:
			return h.take(p), nil
		case h.eof:
			return 0, io.EOF
		case h.err != nil:
			return 0, h.err
		}
		h.readers.Wait()
	}
}

// take reads what has arrived.
func (h *half) take(p []byte) int {
	n := min(len(p), h.arrived)
	h.buf.read(p[:n])
	h.arrived -= n
	if h.buf.len() <= window-leastRoom {
		h.writers.Broadcast()
	}
	return n
}

// writeFrom is Write of the end that writes. Several at once take turns: what
// they write is not mixed. Waiting for the turn is waiting on a condition, as a
// locked mutex would stop the clock of a synctest bubble.
func (h *half) writeFrom(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.writing {
		if err := h.writable(); err != nil {
			return 0, err
		}
		h.writers.Wait()
	}
	h.writing = true
	defer func() {
		h.writing = false
		h.writers.Broadcast()
	}()
	for {
		err := h.writable()
		if err != nil || n == len(p) {
			return n, err
		}
		room := window - h.buf.len()
		if room < min(len(p)-n, leastRoom) {
			h.writers.Wait()
			continue
		}
		part := p[n:min(n+room, n+piece, len(p))]
		h.mu.Unlock()
		h.send(part)
		h.mu.Lock()
		n += len(part)
	}
}

func (h *half) writable() error {
	switch {
	case h.writeClosed:
		return net.ErrClosed
	case h.write.passed:
		return os.ErrDeadlineExceeded
	case h.err != nil:
		return h.err
	case h.ended:
		return syscall.EPIPE
	}
	return nil
}

// send puts a piece on its way.
func (h *half) send(p []byte) {
	n := h.circuit.net
	n.lock()
	defer n.unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil || h.ended {
		return
	}
	h.buf.write(p)
	h.depart(mark{bytes: len(p)})
}

// sendEnd puts the end of the direction on its way.
func (h *half) sendEnd() {
	if h.err != nil || h.ended {
		return
	}
	h.ended = true
	h.writers.Broadcast()
	h.depart(mark{end: true})
}

func (h *half) depart(m mark) {
	h.last = max(h.last, h.circuit.net.now+h.cross(m.bytes))
	m.due = h.last
	h.flight.push(m)
	h.settle()
}

// cross says how long a piece takes on its way.
func (h *half) cross(bytes int) (delay time.Duration) {
	for _, w := range h.wires {
		delay += w.carryStream(bytes)
	}
	return delay
}

// fire is the next piece at its end.
func (h *half) fire() {
	h.armed = false
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle()
}

// resume lets the pieces arrive that a cut has held up.
func (h *half) resume() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.flight.len() > 0 {
		h.notBefore = h.circuit.net.now + h.cross(0)
		h.last = max(h.last, h.notBefore)
		h.settle()
	}
}

// settle lets arrive what is due, and is called again for the rest.
func (h *half) settle() {
	n := h.circuit.net
	for h.flight.len() > 0 && h.circuit.cuts == 0 {
		due := max(h.flight.first().due, h.notBefore)
		if due > n.now {
			if !h.armed {
				h.armed = true
				n.at(due, h)
			}
			return
		}
		h.arrive(h.flight.pop())
	}
}

func (h *half) arrive(m mark) {
	switch {
	case m.end:
		h.eof = true
		h.finish()
	case h.readClosed:
		h.fail(syscall.EPIPE)
	default:
		h.arrived += m.bytes
	}
	h.readers.Broadcast()
}

// fail ends the direction for its writer, and for its reader after what has
// arrived.
func (h *half) fail(err error) {
	if h.err == nil {
		h.err = err
	}
	h.flight = fifo[mark]{}
	h.finish()
	h.readers.Broadcast()
	h.writers.Broadcast()
}

func (h *half) finish() {
	h.done = true
	h.circuit.settle()
}

// closeRead is Close of the end that reads. Who writes to it fails with EPIPE
// once something of it has arrived.
func (h *half) closeRead() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readClosed = true
	h.read.stop()
	if h.arrived > 0 {
		h.arrived, h.buf = 0, ring{}
		h.fail(syscall.EPIPE)
	}
	h.readers.Broadcast()
}

// closeWrite is CloseWrite, or Close if that is final, of the end that writes.
func (h *half) closeWrite(final bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sendEnd()
	if final {
		h.writeClosed = true
		h.write.stop()
		h.writers.Broadcast()
	}
}

// setDeadline moves the deadline of reads or of writes.
func (h *half) setDeadline(d *deadline, t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	cond, closed := &h.readers, h.readClosed
	if d == &h.write {
		cond, closed = &h.writers, h.writeClosed
	}
	if closed {
		return net.ErrClosed
	}
	d.set(t, cond)
	return nil
}
