package noise

import (
	"bufio"
	"cmp"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/meshnet-go/meshnet/key"
)

// Conn is a connection after its handshake. Its methods may be called
// concurrently.
//
// A Read that ran into its deadline can be repeated. A Write that failed, by
// its deadline too, may have left a part of a record on the wire: it closes the
// connection. So does a record that is not the peer's next one.
//
// The end of the stream is not authenticated: who cuts the wire between two
// records makes it look like the peer's Close.
type Conn struct {
	nc      net.Conn
	peer    key.MachinePublic
	version uint16
	closed  atomic.Bool

	rx receiver
	tx sender
}

// receiver is the reading half.
type receiver struct {
	mu     sync.Mutex
	cipher recordCipher
	buf    *bufio.Reader // of one record
	plain  []byte        // opened and not yet read; lies in buf, which is not touched before it is empty
	err    error         // set for good by a bad record
}

// sender is the writing half.
type sender struct {
	mu     sync.Mutex
	cipher recordCipher
	buf    []byte // room for one record
	err    error  // set for good by a failed write
}

func newConn(nc net.Conn, peer key.MachinePublic, version uint16, tx, rx recordCipher) *Conn {
	return &Conn{
		nc: nc, peer: peer, version: version,
		rx: receiver{cipher: rx, buf: bufio.NewReaderSize(nc, maxRecord)},
		tx: sender{cipher: tx, buf: make([]byte, 0, maxRecord)},
	}
}

// Peer returns the other side's static key: the server's, or the client's
// machine key.
func (c *Conn) Peer() key.MachinePublic { return c.peer }

// Version returns the version that the client told in its handshake.
func (c *Conn) Version() uint16 { return c.version }

// Read reads data that the peer wrote.
func (c *Conn) Read(p []byte) (int, error) {
	c.rx.mu.Lock()
	defer c.rx.mu.Unlock()
	if c.closed.Load() {
		return 0, cmp.Or(c.rx.err, net.ErrClosed)
	}
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.rx.plain) == 0 { // a record may be empty
		if err := c.rx.next(); err != nil {
			if c.rx.err != nil {
				c.Close()
			}
			return 0, err
		}
	}
	n := copy(p, c.rx.plain)
	c.rx.plain = c.rx.plain[n:]
	return n, nil
}

// next reads and opens one record. What has come of a record when reading
// fails stays in buf.
func (r *receiver) next() error {
	header, err := r.buf.Peek(headerSize)
	if err != nil {
		return endOf(header, err)
	}
	n := headerSize + int(binary.BigEndian.Uint16(header[1:]))
	switch {
	case header[0] != typeRecord:
		return r.fail(fmt.Errorf("noise: unexpected message of type %d", header[0]))
	case n > maxRecord, n < headerSize+tagSize:
		return r.fail(fmt.Errorf("noise: record of %d bytes", n))
	}
	record, err := r.buf.Peek(n)
	if err != nil {
		return endOf(record, err)
	}
	r.buf.Discard(n)
	r.plain, err = r.cipher.open(record[headerSize:])
	if err != nil {
		return r.fail(err)
	}
	return nil
}

func (r *receiver) fail(err error) error {
	r.err = err
	return err
}

// endOf tells an end between records from one within.
func endOf(part []byte, err error) error {
	if len(part) > 0 {
		return noEOF(err)
	}
	return err
}

// Write sends p, in as many records as it takes, and returns how many bytes
// were in records that were sent whole.
func (c *Conn) Write(p []byte) (int, error) {
	c.tx.mu.Lock()
	defer c.tx.mu.Unlock()
	if c.closed.Load() {
		return 0, cmp.Or(c.tx.err, net.ErrClosed)
	}
	var sent int
	for sent < len(p) {
		chunk := p[sent:min(len(p), sent+maxPlaintext)]
		if err := c.tx.send(c.nc, chunk); err != nil {
			c.tx.err = err
			c.Close()
			return sent, err
		}
		sent += len(chunk)
	}
	return sent, nil
}

func (s *sender) send(w io.Writer, chunk []byte) error {
	record := appendHeader(s.buf[:0], typeRecord, len(chunk)+tagSize)
	record, err := s.cipher.seal(record, chunk)
	if err != nil {
		return err
	}
	_, err = w.Write(record)
	return err
}

// Close closes the connection below, too. Pending reads and writes return.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.nc.Close()
}

// LocalAddr returns the local address of the connection below.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr returns the remote address of the connection below.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error { return c.nc.SetDeadline(t) }

// SetReadDeadline sets the deadline of Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.nc.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of Write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.nc.SetWriteDeadline(t) }

// recordCipher seals or opens the records of one direction, in order.
type recordCipher struct {
	aead  cipher.AEAD
	count uint64                           // records so far
	nonce [chacha20poly1305.NonceSize]byte // scratch: here, it is not allocated for every record
}

// seal appends the sealed chunk to dst.
func (r *recordCipher) seal(dst, chunk []byte) ([]byte, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	return r.aead.Seal(dst, r.nonce[:], chunk, nil), nil
}

// open returns the content of a sealed record, in place of it.
func (r *recordCipher) open(sealed []byte) ([]byte, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	plain, err := r.aead.Open(sealed[:0], r.nonce[:], sealed, nil)
	if err != nil {
		return nil, errors.New("noise: a record does not authenticate")
	}
	return plain, nil
}

// step goes on to the nonce of the next record. No nonce is used twice.
func (r *recordCipher) step() error {
	if r.count == math.MaxUint64 {
		return errors.New("noise: no more records can be sent on this connection")
	}
	binary.BigEndian.PutUint64(r.nonce[4:], r.count)
	r.count++
	return nil
}
