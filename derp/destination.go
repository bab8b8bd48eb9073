package derp

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// batchBytes is what is written at a time, if there is as much. It fits a
	// TLS record with one packet more.
	batchBytes = 14 << 10

	// linger is how long a writer without work stays. An idle client has none.
	linger = 5 * time.Second
)

// destination is where packets for a key go: a client's connection, or a link
// to the relay that has the client.
type destination struct {
	out    *outbox
	conn   frameWriter
	remote bool  // it is a link to another relay
	news   *news // what is to be told besides; nil but for relays that watch us
	count  counters

	// live says that new packets go here: the connection stands, and it is
	// the newest of its key.
	live atomic.Bool
	err  error // why conn cannot be written to; set when the outbox's writer has ended
}

// frameWriter is written whole frames at a time.
type frameWriter interface {
	io.WriteCloser
	CloseWrite() error
}

// batches are buffers for writing: a writer needs one only while it writes.
type batches struct{ pool sync.Pool }

func (p *batches) get() *[]byte {
	b, _ := p.pool.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
		*b = make([]byte, 0, 16<<10)
	}
	return b
}

func (p *batches) put(b *[]byte) {
	if cap(*b) <= 32<<10 {
		p.pool.Put(b)
	}
}

// tell puts a message of ours into d's outbox.
func (s *Server) tell(d *destination, m *message) { s.start(d, d.out.tell(m)) }

func (s *Server) start(d *destination, start bool) {
	if start {
		go s.write(d)
	}
}

// write writes what comes into the outbox until nothing has come for a while,
// or the connection ends.
func (s *Server) write(d *destination) {
	defer d.out.writer.Done()
	idle := time.NewTicker(linger)
	defer idle.Stop()
	worked, more := true, true
	for {
		if err := s.drain(d); err != nil {
			d.err = err
			d.conn.Close() // ends the reader, which closes the outbox
			return
		}
		if !more {
			d.conn.CloseWrite()
			return
		}
		select {
		case _, more = <-d.out.wake:
			worked = true
		case <-idle.C:
			if !worked && d.out.retire() {
				return
			}
			worked = false
		}
	}
}

// drain writes all that is to be told, in as few writes as possible.
func (s *Server) drain(d *destination) error {
	buf := s.batches.get()
	defer s.batches.put(buf)
	for {
		*buf = (*buf)[:0]
		if d.news != nil {
			*buf = d.news.appendTo(*buf, batchBytes)
		}
		batch := d.out.take(batchBytes - len(*buf))
		for m := batch.pop(); m != nil; m = batch.pop() {
			d.count.sent(m)
			*buf = m.appendTo(*buf)
			s.messages.put(m)
		}
		if len(*buf) == 0 {
			return nil
		}
		if _, err := d.conn.Write(*buf); err != nil {
			return err
		}
	}
}
