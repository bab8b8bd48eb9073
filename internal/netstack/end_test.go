package netstack

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
)

func TestStopListening(t *testing.T) {
	a, b := newPair(t)
	client, server := connect(t, a, b, b4)
	ln := mustListen(t, b, "tcp", "")
	port := netip.AddrPortFrom(b4, portOf(ln.Addr()))
	waiting := make(chan error, 1)
	go func() { _, err := ln.Accept(); waiting <- err }()

	b.StopListening()
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept while the stack stops to listen: %v", err)
	}
	if _, err := a.DialTCP(within(t), "tcp", netip.Addr{}, port); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling a stack that does not listen any more: %v", err)
	}
	if _, err := b.ListenTCP("tcp", netip.AddrPort{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listening anew: %v", err)
	}
	if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing the listener: %v", err)
	}
	echo(t, client, server) // which lives on

	drained := make(chan error, 1)
	go func() { drained <- b.Drain(within(t)) }()
	server.Write([]byte("the end"))
	server.Close()
	if err := <-drained; err != nil {
		t.Errorf("all is said, and the peer may close when it likes: %v", err)
	}
	if rest, err := io.ReadAll(client); err != nil || string(rest) != "the end" {
		t.Errorf("read %q, %v", rest, err)
	}
}

func TestDrainEndsWithItsContext(t *testing.T) {
	a, b := newPair(t)
	connect(t, a, b, b4)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("draining with an open connection: %v", err)
	}
	if told := b.HangUp(); told != 1 {
		t.Errorf("%d peers hear of it, want 1", told)
	}
	if told := b.HangUp(); told != 0 {
		t.Errorf("%d peers hear of it twice", told)
	}
	if err := b.Drain(t.Context()); err != nil {
		t.Errorf("draining what has hung up: %v", err)
	}
}

func TestHangUpTellsPeers(t *testing.T) {
	a, b := newPair(t)
	client, server := connect(t, a, b, b4)
	b.HangUp()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer's read: %v", err)
	}
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the own read: %v", err)
	}
}
