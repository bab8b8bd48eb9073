// Package capture writes packets to a file while they pass by. Whoever has a
// packet is not kept waiting:
//
//	Add ── buffer ⇄ buffer ── goroutine ── Write
//
// While the goroutine writes one buffer the other is filled; when that is full,
// packets are not kept, but counted.
package capture

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/internal/pcapng"
)

// bufferSize is that of each of the two buffers. It is some ten milliseconds of
// what a node carries at its fastest.
const bufferSize = 1 << 20

// A Capture is under way from New until Stop, or until its writer fails.
type Capture struct {
	w    io.Writer
	wake chan struct{} // holds one: there is something to be written
	stop chan struct{}
	once sync.Once
	done chan struct{}
	err  error // of w; set before done is closed

	mu      sync.Mutex
	filling []byte // guarded by mu, as what follows
	ended   bool   // nothing more is taken
	packets uint64 // that were offered
	lost    uint64 // of them, for want of room
	untold  uint64 // of these, since the last one that was kept
}

// New writes to w, beginning with header. Writes are of whole blocks and one
// after the other.
func New(w io.Writer, header []byte) *Capture {
	c := &Capture{
		w:       w,
		wake:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		filling: append(make([]byte, 0, max(bufferSize, len(header))), header...),
	}
	c.wake <- struct{}{}
	go c.run()
	return c
}

// Add keeps a packet, whose Lost it fills in itself. It copies what it keeps,
// never waits for the writer, and allocates nothing.
func (c *Capture) Add(p pcapng.Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.packets++
	if len(c.filling)+pcapng.Overhead+len(p.Data)+len(p.Comment) > cap(c.filling) {
		c.lost++
		c.untold++
		return
	}
	p.Lost, c.untold = c.untold, 0
	c.filling = pcapng.AppendPacket(c.filling, p)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Counts returns how many packets were offered, and how many of them were lost
// because the writer was too slow.
func (c *Capture) Counts() (packets, lost uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.packets, c.lost
}

// End takes no more packets. What was taken is still written.
func (c *Capture) End() { c.once.Do(func() { close(c.stop) }) }

// Done is closed when the capture has ended, and nothing more is written.
func (c *Capture) Done() <-chan struct{} { return c.done }

// Stop ends the capture, waits until all is written, and returns the writer's
// error.
func (c *Capture) Stop() error {
	c.End()
	<-c.done
	return c.err
}

func (c *Capture) run() {
	defer close(c.done)
	spare := make([]byte, 0, bufferSize)
	for last := false; !last; {
		select {
		case <-c.wake:
		case <-c.stop:
			last = true
		}
		full := c.swap(spare, last)
		if err := c.write(full); err != nil {
			c.swap(nil, true)
			c.err = fmt.Errorf("writing a capture: %w", err)
			return
		}
		spare = full[:0]
	}
}

func (c *Capture) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_, err := c.w.Write(b)
	return err
}

// swap takes what is to be written, and leaves an empty buffer. The last one
// ends the file.
func (c *Capture) swap(empty []byte, last bool) (full []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	full, c.filling = c.filling, empty
	if last {
		c.ended = true
		full = pcapng.AppendStatistics(full, time.Now(), c.packets, c.lost)
	}
	return full
}
