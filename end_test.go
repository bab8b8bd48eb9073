package meshnet

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

func TestCloseFitsIntoASecond(t *testing.T) {
	if most := farewellPatience + logoutPatience; most > 900*time.Millisecond {
		t.Errorf("Close waits up to %v for others", most)
	}
}

func TestCloseResetsPeersConnections(t *testing.T) {
	for _, ephemeral := range []bool{false, true} {
		m := newMesh(t, nil)
		a, b := m.up("a"), m.server("b")
		b.Ephemeral = ephemeral
		m.bringUp(b)
		for from, to := range map[*Server]*Server{a: b, b: a} {
			ln, err := to.Listen("tcp", ":7")
			if err != nil {
				t.Fatal(err)
			}
			dialled, accepted := pair(t, from, ln, to.Hostname+":7")
			conns := map[*Server]net.Conn{from: dialled, to: accepted}
			read := make(chan error, 1)
			go func() {
				_, err := conns[a].Read(make([]byte, 1))
				read <- err
			}()
			defer func() {
				if err := <-read; !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("ephemeral %v: a peer's Read on a connection of a node that is closed: %v", ephemeral, err)
				}
			}()
		}
		b.Close()
	}
}

func TestShutdownLetsConnectionsEnd(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	ln, err := b.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	client, server := pair(t, a, ln, "b:7")
	defer client.Close()

	down := make(chan error, 1)
	go func() { down <- b.Shutdown(testCtx(t)) }()
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept during Shutdown: %v", err)
	}
	if _, err := a.Dial(testCtx(t), "tcp", "b:7"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling a node that shuts down: %v", err)
	}
	if _, err := b.Listen("tcp", ":8"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Listen during Shutdown: %v", err)
	}
	message := make([]byte, 1<<20) // more than is under way at once
	go func() {
		server.Write(message)
		server.Close()
	}()
	if got, err := io.ReadAll(client); err != nil || len(got) != len(message) {
		t.Errorf("the peer has read %d bytes, %v", len(got), err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	wantClosed(t, b)
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	ln, err := b.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	client, _ := pair(t, a, ln, "b:7")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown with an open connection: %v", err)
	}
	wantClosed(t, b)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer's Read: %v", err)
	}
	if err := b.Shutdown(t.Context()); err != nil {
		t.Errorf("shutting down again: %v", err)
	}
}

func TestShutdownBeforeStart(t *testing.T) {
	s := new(Server)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	wantClosed(t, s)
}
