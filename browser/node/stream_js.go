package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall/js"
	"time"
)

// dialPatience is how long a page waits for a connection.
const dialPatience = 30 * time.Second

// A stream goes both ways: a connection, or the two bodies of an exchange.
type stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// maxRead is how much a page gets at once.
const maxRead = 64 << 10

// buffers are of maxRead bytes.
var buffers = sync.Pool{New: func() any { return new([maxRead]byte) }}

// callStream reads or writes, or what else a stream can.
func callStream(s stream, method string, args []js.Value) (any, error) {
	switch {
	case method == "read":
		return read(s)
	case method == "closeWrite":
		return nil, s.CloseWrite()
	case method == "write" && len(args) == 1 && args[0].InstanceOf(js.Global().Get("Uint8Array")):
		return nil, write(s, args[0])
	}
	if e, ok := s.(exchange); ok {
		return e.call(method, args)
	}
	return nil, errArguments
}

// read returns what there is, as a Uint8Array, or null at the end. A datagram may
// be empty.
func read(s stream) (any, error) {
	buf := buffers.Get().(*[maxRead]byte)
	defer buffers.Put(buf)
	n, err := s.Read(buf[:])
	switch {
	case n > 0, err == nil: // an error comes again
		array := js.Global().Get("Uint8Array").New(n)
		js.CopyBytesToJS(array, buf[:n])
		return array, nil
	case errors.Is(err, io.EOF):
		return nil, nil
	}
	return nil, err
}

func write(s stream, array js.Value) error {
	buf := buffers.Get().(*[maxRead]byte)
	defer buffers.Put(buf)
	for from, n := 0, array.Length(); from < n; {
		part := buf[:min(n-from, maxRead)]
		js.CopyBytesToGo(part, array.Call("subarray", from, from+len(part)))
		if _, err := s.Write(part); err != nil {
			return err
		}
		from += len(part)
	}
	return nil
}

// conn is a connection as a stream.
type conn struct{ net.Conn }

// CloseWrite says that nothing more comes. Datagrams have no end.
func (c conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (p *page) dial(network, addr string) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialPatience)
	defer cancel()
	nc, err := p.server.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return p.openConn(nc), nil
}

func (p *page) openConn(nc net.Conn) any {
	return map[string]any{"id": p.open(conn{nc}), "local": nc.LocalAddr().String(), "remote": nc.RemoteAddr().String()}
}

// An acceptor gives a page what comes to it.
type acceptor interface {
	closer
	accept(*page) (any, error) // nil, and no error, when it is closed
}

type listener struct{ net.Listener }

func (p *page) listen(network, addr string) (any, error) {
	ln, err := p.server.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	return map[string]any{"id": p.open(listener{ln}), "local": ln.Addr().String()}, nil
}

func (ln listener) accept(p *page) (any, error) {
	nc, err := ln.Accept()
	if errors.Is(err, net.ErrClosed) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return p.openConn(nc), nil
}
