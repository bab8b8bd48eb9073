package derp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

const (
	clientBuffer = 16 << 10 // one TLS record

	// A relay sends a keep-alive after at most 65 s of silence; two that are
	// missing mean that it is gone.
	clientReadTimeout  = 120 * time.Second
	clientWriteTimeout = 10 * time.Second
)

// Client is a connection to a relay. One goroutine may call Recv while others
// call the other methods. After an error of Recv, Send or Flush the connection
// is of no more use and must be closed.
type Client struct {
	nc     net.Conn
	key    key.NodePrivate
	server key.NodePublic
	closed atomic.Bool

	// Owned by Recv.
	r     *bufio.Reader
	seen  int    // bytes in r that the last frame still refers to
	large []byte // for frames that do not fit r

	mu    sync.Mutex // guards what is below
	w     *bufio.Writer
	limit *bucket // what the relay wants us to keep to; nil: nothing
}

// stream is a connection on which the relay's frames come next.
type stream struct {
	nc net.Conn
	r  *bufio.Reader
	w  *bufio.Writer
	// said is the relay's key, if its certificate has said it. The request for
	// the upgrade is then still in w.
	said key.NodePublic
}

// newStream makes a stream of a connection, which r reads from.
func newStream(nc net.Conn, r io.Reader) stream {
	reader := &timedReader{r: r, nc: nc, limit: clientReadTimeout}
	writer := &timedConn{Conn: nc, write: clientWriteTimeout}
	return stream{nc: nc, r: bufio.NewReaderSize(reader, clientBuffer), w: bufio.NewWriterSize(writer, clientBuffer)}
}

// newClient logs in. It relies on its caller to close the connection when it
// takes too long.
func newClient(st stream, priv key.NodePrivate, mesh MeshKey) (*Client, error) {
	server, err := st.exchangeKeys(priv, mesh)
	if err != nil {
		return nil, err
	}
	c := &Client{nc: st.nc, key: priv, server: server, r: st.r, w: st.w}
	// Waiting for the answer costs a round trip, but then whoever has a Client
	// knows that the relay took it in, and that others can reach it there.
	if err := c.awaitServerInfo(); err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	return c, nil
}

// exchangeKeys says who we are, and returns who the relay is.
func (st *stream) exchangeKeys(priv key.NodePrivate, mesh MeshKey) (server key.NodePublic, err error) {
	fast := !st.said.IsZero()
	if fast {
		if err := sendClientInfo(st.w, priv, mesh, st.said); err != nil {
			return key.NodePublic{}, fmt.Errorf("log in: %w", err)
		}
		if err := expectFrames(st.r); err != nil {
			return key.NodePublic{}, err
		}
	}
	server, err = readServerKey(st.r)
	switch {
	case err != nil:
		return key.NodePublic{}, fmt.Errorf("read the relay's key: %w", err)
	case fast && st.said != server:
		return key.NodePublic{}, errors.New("the relay has another key than its certificate says")
	case fast:
		return server, nil
	}
	if err := sendClientInfo(st.w, priv, mesh, server); err != nil {
		return key.NodePublic{}, fmt.Errorf("log in: %w", err)
	}
	return server, nil
}

func (c *Client) awaitServerInfo() error {
	for {
		typ, payload, err := c.next()
		if err != nil {
			return err
		}
		if typ == frameServerInfo {
			return c.setServerInfo(payload)
		}
	}
}

func (c *Client) setServerInfo(payload []byte) error {
	info, err := parseServerInfo(payload, c.key, c.server)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = nil
	if info.TokenBucketBytesPerSecond > 0 {
		const largest = headerSize + key.Size + MaxPacketSize
		c.limit = newBucket(info.TokenBucketBytesPerSecond, max(info.TokenBucketBytesBurst, largest))
	}
	return nil
}

// ServerKey returns the key of the relay.
func (c *Client) ServerKey() key.NodePublic { return c.server }

// LocalAddr returns our end of the connection.
func (c *Client) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// Send puts a packet for the holder of dst on its way; it leaves with the next
// Flush at the latest. It does not retain the packet. Like all packets, it may
// get lost: when dst is not connected to the relay, when a queue is full, when
// the relay's limit on what we may send is reached.
func (c *Client) Send(dst key.NodePublic, packet []byte) error {
	if len(packet) > MaxPacketSize {
		return fmt.Errorf("derp: packet of %d bytes is too large", len(packet))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit != nil && !c.limit.take(time.Now(), headerSize+key.Size+len(packet)) {
		return nil
	}
	return c.wrote(writePeerFrame(c.w, frameSendPacket, dst, packet))
}

// Flush writes what is buffered to the relay.
func (c *Client) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrote(c.w.Flush())
}

// SetPreferred tells the relay whether it is our home, for its statistics.
func (c *Client) SetPreferred(home bool) error {
	payload := []byte{0}
	if home {
		payload[0] = 1
	}
	return c.tell(frameNotePreferred, payload)
}

// WatchConns asks the relay to tell us who is connected to it, and from now on
// who comes and goes: frames of type [FramePeerPresent] and [FramePeerGone]. It
// does so for who knows its [MeshKey], and ends the connection of others.
func (c *Client) WatchConns() error { return c.tell(frameWatchConns, nil) }

// ClosePeer asks the relay to end the connections of a peer, who may connect
// again if the relay lets it in. That too is for who knows the [MeshKey].
func (c *Client) ClosePeer(peer key.NodePublic) error {
	return c.tell(frameClosePeer, peer.AppendRaw(nil))
}

// Ping asks the relay for a Pong with the same data, which Recv returns.
func (c *Client) Ping(data [8]byte) error { return c.tell(framePing, data[:]) }

func (c *Client) tell(typ FrameType, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := writeFrame(c.w, typ, payload)
	if err == nil {
		err = c.w.Flush()
	}
	return c.wrote(err)
}

// wrote turns the outcome of a write into what the caller is told. A
// connection that cannot be written to is closed, so that Recv ends too.
func (c *Client) wrote(err error) error {
	if err == nil {
		return nil
	}
	closeNow(c.nc)
	return c.failed("write", err)
}

// Recv waits for the next frame. It answers pings itself and passes over what
// it does not know. The frame's Data is valid until the next call. A relay that
// is silent for two minutes counts as gone.
func (c *Client) Recv() (Frame, error) {
	for {
		typ, payload, err := c.next()
		if err != nil {
			return Frame{}, c.failed("read", err)
		}
		switch typ {
		case framePing:
			if data, err := cutPing(payload); err == nil {
				if err := c.tell(FramePong, data); err != nil {
					return Frame{}, err
				}
			}
		case frameServerInfo:
			if err := c.setServerInfo(payload); err != nil {
				return Frame{}, c.failed("read", err)
			}
		default:
			// A malformed frame harms nobody but its sender.
			if f, known, err := parseFrame(typ, payload); known && err == nil {
				return f, nil
			}
		}
	}
}

// next reads a frame. The payload is valid until the next call.
func (c *Client) next() (FrameType, []byte, error) {
	c.r.Discard(c.seen)
	c.seen = 0
	typ, size, err := readHeader(c.r, maxFrameSize)
	if err != nil {
		return 0, nil, err
	}
	if size <= c.r.Size() {
		c.seen = size
		payload, err := c.r.Peek(size)
		return typ, payload, err
	}
	if size > cap(c.large) {
		c.large = make([]byte, size)
	}
	c.large = c.large[:size]
	_, err = io.ReadFull(c.r, c.large)
	return typ, c.large, err
}

// failed says what went wrong, in words for the caller.
func (c *Client) failed(doing string, err error) error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("derp: the relay closed the connection: %w", err)
	}
	return fmt.Errorf("derp: %s: %w", doing, err)
}

// Close ends the connection. What is buffered is lost. Calls under way and all
// later ones return [net.ErrClosed].
func (c *Client) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return closeNow(c.nc)
}
