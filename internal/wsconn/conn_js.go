package wsconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall/js"
	"time"
)

const (
	// maxUnread is how much may wait to be read: a browser cannot make the other
	// side wait. What travels through the stream has windows of its own, which
	// are smaller.
	maxUnread = 32 << 20

	// maxUnsent is how much may be written and not sent.
	maxUnsent = 128 << 10

	// A browser takes whatever it is given to send, and tells only how much it
	// still has. While that is more than maxBuffered it is given nothing, and
	// asked again every sendPause: of less, browsers make four milliseconds.
	maxBuffered = 256 << 10
	sendPause   = 4 * time.Millisecond
)

// conn is a WebSocket of the browser's.
//
// A message costs a browser about as much whether it is short or long, and a node
// writes a packet at a time. So Write only notes what is to be sent, and a
// goroutine sends it when those that have something to write have had their turn.
type conn struct {
	ws    js.Value
	url   string
	array js.Value // of maxMessage bytes: what is being sent
	funcs []js.Func

	opened chan struct{} // closed when it is
	news   chan struct{} // has an element when what Read waits for may have come
	work   chan struct{} // has an element when there is something to send
	much   chan struct{} // has an element when that fills a message
	room   chan struct{} // has an element when what Write waits for may have come
	ended  chan struct{} // closed with err set

	mu            sync.Mutex
	unread        bytes.Buffer
	unsent        bytes.Buffer
	err           error // of Read, when all is read, and of Write; nil while open
	readDeadline  time.Time
	writeDeadline time.Time
}

// Dial opens a WebSocket, ws:// or wss://. Pages that came over HTTPS open none
// of the former.
func Dial(ctx context.Context, url, subprotocol string) (net.Conn, error) {
	ws, err := newWebSocket(url, subprotocol)
	if err != nil {
		return nil, err
	}
	c := &conn{
		ws:     ws,
		url:    url,
		array:  js.Global().Get("Uint8Array").New(maxMessage),
		opened: make(chan struct{}),
		news:   make(chan struct{}, 1),
		work:   make(chan struct{}, 1),
		much:   make(chan struct{}, 1),
		room:   make(chan struct{}, 1),
		ended:  make(chan struct{}),
	}
	ws.Set("binaryType", "arraybuffer")
	c.on("onopen", func(js.Value) { close(c.opened) })
	c.on("onmessage", func(event js.Value) { c.receive(event.Get("data")) })
	c.on("onclose", func(event js.Value) { c.end(farewell(event)) })
	select {
	case <-c.opened:
	case <-c.ended:
		return nil, c.err
	case <-ctx.Done():
		c.Close()
		return nil, context.Cause(ctx)
	}
	if ws.Get("protocol").String() != subprotocol {
		c.Close()
		return nil, &SubprotocolError{subprotocol}
	}
	go c.send()
	return c, nil
}

// newWebSocket is the constructor, which throws what makes no sense or is not
// allowed to the page.
func newWebSocket(url, subprotocol string) (ws js.Value, err error) {
	defer func() {
		if thrown, ok := recover().(js.Error); ok {
			err = fmt.Errorf("opening a WebSocket to %s: %w", url, thrown)
		}
	}()
	return js.Global().Get("WebSocket").New(url, subprotocol), nil
}

// on sets a handler. It must not wait for anything.
func (c *conn) on(event string, handle func(js.Value)) {
	f := js.FuncOf(func(_ js.Value, args []js.Value) any {
		handle(args[0])
		return nil
	})
	c.funcs = append(c.funcs, f)
	c.ws.Set(event, f)
}

// farewell says why a WebSocket closed. Browsers tell pages nothing else of
// what went wrong.
func farewell(event js.Value) error {
	if event.Get("wasClean").Bool() {
		return io.EOF
	}
	if reason := event.Get("reason").String(); reason != "" {
		return fmt.Errorf("the WebSocket broke: %q", reason)
	}
	return errors.New("the WebSocket broke, or could not be opened")
}

// receive takes a message.
func (c *conn) receive(data js.Value) {
	if data.Type() != js.TypeObject {
		c.end(errors.New("the WebSocket carries text"))
		return
	}
	bytes := js.Global().Get("Uint8Array").New(data)
	n := bytes.Length()
	c.mu.Lock()
	full := c.unread.Len()+n > maxUnread
	if !full {
		c.unread.Grow(n)
		room := c.unread.AvailableBuffer()[:n]
		js.CopyBytesToGo(room, bytes)
		c.unread.Write(room)
	}
	c.mu.Unlock()
	if full {
		c.end(errors.New("the WebSocket brings more than is read"))
		return
	}
	poke(c.news)
}

// poke puts an element into a channel that holds one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// end closes the connection because of err, which nil is not.
func (c *conn) end(err error) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = err
		close(c.ended)
	}
	c.mu.Unlock()
	if !first {
		return
	}
	for _, event := range []string{"onopen", "onmessage", "onclose"} {
		c.ws.Set(event, js.Null())
	}
	for _, f := range c.funcs {
		f.Release()
	}
	c.ws.Call("close")
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		c.mu.Lock()
		unread, err, deadline := c.unread.Len(), c.err, c.readDeadline
		switch {
		case !deadline.IsZero() && !time.Now().Before(deadline):
			err = os.ErrDeadlineExceeded
		case errors.Is(err, net.ErrClosed):
		case unread > 0:
			n, _ := c.unread.Read(p)
			c.mu.Unlock()
			return n, nil
		}
		c.mu.Unlock()
		if err != nil {
			return 0, err
		}
		c.await(c.news, deadline)
	}
}

// await waits until something has come, or the deadline.
func (c *conn) await(something <-chan struct{}, deadline time.Time) {
	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-something:
	case <-c.ended:
	case <-late:
	}
}

func (c *conn) Write(p []byte) (n int, err error) {
	for {
		c.mu.Lock()
		err, deadline := c.err, c.writeDeadline
		switch {
		case err == io.EOF:
			err = net.ErrClosed
		case err != nil:
		case !deadline.IsZero() && !time.Now().Before(deadline):
			err = os.ErrDeadlineExceeded
		default:
			part := p[:min(len(p), max(0, maxUnsent-c.unsent.Len()))]
			c.unsent.Write(part)
			n += len(part)
			p = p[len(part):]
		}
		if c.unsent.Len() >= maxMessage {
			poke(c.much)
		}
		c.mu.Unlock()
		poke(c.work)
		if err != nil || len(p) == 0 {
			return n, err
		}
		c.await(c.room, deadline)
	}
}

// send gives the browser what is written, until the connection has ended.
func (c *conn) send() {
	var pace pace
	for {
		select {
		case <-c.work:
		case <-c.ended:
			return
		}
		runtime.Gosched() // behind all who can write now
		c.gather(pace.wait(time.Now()))
		for c.sendMessage() {
			if !c.awaitBrowser() {
				return
			}
		}
	}
}

// gather waits for more to send, as long as that does not fill a message.
func (c *conn) gather(d time.Duration) {
	if d <= 0 {
		return
	}
	c.mu.Lock()
	if c.unsent.Len() < maxMessage {
		select { // what was much is sent
		case <-c.much:
		default:
		}
	}
	c.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.much:
	case <-timer.C:
	case <-c.ended:
	}
}

// sendMessage sends one message, if there is something to send.
func (c *conn) sendMessage() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	part := c.unsent.Next(maxMessage)
	if len(part) == 0 || c.err != nil {
		return false
	}
	js.CopyBytesToJS(c.array, part)
	c.ws.Call("send", c.array.Call("subarray", 0, len(part))) // copies it
	poke(c.room)
	return true
}

// awaitBrowser waits until the browser has little left to send. It reports false
// when the connection has ended.
func (c *conn) awaitBrowser() bool {
	for c.ws.Get("bufferedAmount").Int() > maxBuffered {
		select {
		case <-time.After(sendPause):
		case <-c.ended:
			return false
		}
	}
	return true
}

// Close gives the browser what is left to send, and does not wait for the other
// side's farewell.
func (c *conn) Close() error {
	for c.sendMessage() {
	}
	c.end(net.ErrClosed)
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.readDeadline = t
	c.mu.Unlock()
	poke(c.news)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	c.writeDeadline = t
	c.mu.Unlock()
	poke(c.room)
	return nil
}

// A page does not learn the addresses.
func (c *conn) LocalAddr() net.Addr  { return addr("browser") }
func (c *conn) RemoteAddr() net.Addr { return addr(c.url) }

type addr string

func (addr) Network() string  { return "websocket" }
func (a addr) String() string { return string(a) }
