package meshtest_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/internal/leak"
	"github.com/meshnet-go/meshnet/meshtest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// echoPort is where nodes of these tests send back what they get.
const echoPort = "7"

// echo makes a node send back what it gets, until it is closed.
func echo(t testing.TB, node *meshnet.Server) {
	t.Helper()
	ln, err := node.Listen("tcp", ":"+echoPort)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
}

// dial connects from one node to the echo of another.
func dial(t testing.TB, from, to *meshnet.Server) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", net.JoinHostPort(to.Hostname, echoPort))
	if err != nil {
		t.Fatalf("%s to %s: %v", from.Hostname, to.Hostname, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// wantEcho sends size bytes and wants them back.
func wantEcho(t testing.TB, sentence string, conn net.Conn, size int) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	sent := make([]byte, size)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		wrote <- err
	}()
	got := make([]byte, size)
	if n, err := io.ReadFull(conn, got); err != nil {
		t.Fatalf("%s: after %d of %d bytes: %v", sentence, n, size, err)
	}
	if err := <-wrote; err != nil {
		t.Fatalf("%s: %v", sentence, err)
	}
	if !bytes.Equal(sent, got) {
		t.Fatalf("%s: what came back is not what was sent", sentence)
	}
}

// wantReach has a node dial another, and data go both ways.
func wantReach(t testing.TB, from, to *meshnet.Server) {
	t.Helper()
	conn := dial(t, from, to)
	wantEcho(t, from.Hostname+" reaches "+to.Hostname, conn, 100_000)
	conn.Close()
}

// pair returns a new mesh and two nodes of it that send back what they get.
func pair(t testing.TB, optionA, optionB meshtest.NodeOption) (mesh *meshtest.Mesh, a, b *meshnet.Server) {
	t.Helper()
	mesh = meshtest.New(t)
	a, b = mesh.Node("a", optionA), mesh.Node("b", optionB)
	echo(t, a)
	echo(t, b)
	return mesh, a, b
}
