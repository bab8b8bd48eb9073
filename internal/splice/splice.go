// Package splice carries bytes between two connections, as proxies and port
// forwards do.
package splice

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Conns carries bytes from a to b and from b to a, and closes both connections
// when both directions have ended. The end of one direction is passed on with
// CloseWrite while the other goes on; a connection without CloseWrite can be
// told only by closing it, which ends both. So does an error in either
// direction, and then err is the first: connections that can be reset are, so
// that what was cut off does not look complete to either side.
//
// When ctx ends, Conns ends with its cause. It must be given one that ends when
// somebody closes a or b: a closed connection is not noticed while its direction
// has ended and the other one is quiet. When idle is positive and no byte has
// moved either way for that long, Conns ends with [os.ErrDeadlineExceeded]. A
// write that waits for its reader shows no progress although there may be some,
// in the system's buffers: it may wait for eight times as long.
func Conns(ctx context.Context, a, b net.Conn, idle time.Duration) (aToB, bToA int64, err error) {
	p := &pair{a: a, b: b, start: time.Now()}
	defer context.AfterFunc(ctx, func() { p.end(context.Cause(ctx)) })()
	stop := p.watchIdle(idle)
	done := make(chan struct{})
	go func() {
		defer close(done)
		bToA = p.carry(a, b)
	}()
	aToB = p.carry(b, a)
	<-done
	stop()
	p.end(nil)
	return aToB, bToA, p.err
}

// A pair is two connections that are being spliced.
type pair struct {
	a, b  net.Conn
	start time.Time
	moved atomic.Int64 // when a byte moved last, as a time.Duration after start

	writing atomic.Int32 // directions that are in a Write

	ended sync.Once
	err   error // why the pair ended; written by ended
}

// end closes both connections. The first reason stays.
func (p *pair) end(why error) {
	p.ended.Do(func() {
		p.err = why
		for _, c := range []net.Conn{p.a, p.b} {
			if why != nil {
				reset(c)
			}
			c.Close()
		}
	})
}

// reset has the Close that follows tell the other side of a failure rather than
// of an end.
func reset(c net.Conn) {
	if c, ok := c.(interface{ SetLinger(seconds int) error }); ok {
		c.SetLinger(0)
	}
}

// carry copies from src to dst until src ends, and passes the end on.
func (p *pair) carry(dst, src net.Conn) int64 {
	n, err := p.copy(dst, src)
	if err != nil {
		p.end(err)
		return n
	}
	if err := closeWrite(dst); errors.Is(err, errors.ErrUnsupported) {
		p.end(nil)
	} else if err != nil {
		p.end(err)
	}
	return n
}

// copy moves the bytes. It holds a small buffer while little is to be done, so
// that a thousand quiet connections cost little memory.
func (p *pair) copy(dst io.Writer, src io.Reader) (n int64, err error) {
	buf := getBuffer(small)
	defer func() { buf.free() }()
	for {
		got, readErr := src.Read(buf.bytes)
		if got > 0 {
			p.touch()
			p.writing.Add(1)
			wrote, err := dst.Write(buf.bytes[:got])
			p.writing.Add(-1)
			n += int64(wrote)
			if err != nil {
				return n, err
			}
			p.touch()
			buf = buf.fit(got)
		}
		if readErr == io.EOF {
			return n, nil
		}
		if readErr != nil {
			return n, readErr
		}
	}
}

// touch notes that a byte moved.
func (p *pair) touch() {
	p.moved.Store(int64(time.Since(p.start)))
}

// stalledFactor is how many times longer than nothing at all a stalled write is
// tolerated.
const stalledFactor = 8

// watchIdle ends the pair when nothing has moved for idle. One timer looks now
// and then: setting deadlines at each chunk would allocate in gVisor.
func (p *pair) watchIdle(idle time.Duration) (stop func()) {
	if idle <= 0 {
		return func() {}
	}
	var mu sync.Mutex // held while timer is set, and while it is stopped
	var timer *time.Timer
	var stopped bool
	look := func() {
		mu.Lock()
		defer mu.Unlock()
		quiet := time.Since(p.start) - time.Duration(p.moved.Load())
		limit := idle
		if p.writing.Load() > 0 {
			limit = stalledFactor * idle
		}
		switch {
		case stopped:
		case quiet >= limit:
			p.end(os.ErrDeadlineExceeded)
		default:
			timer.Reset(min(limit-quiet, idle)) // what is written now may be done soon
		}
	}
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(idle, look)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

func closeWrite(c net.Conn) error {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
