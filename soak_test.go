package meshnet_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"flag"
	"io"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/meshtest"
)

// make soak asks for ten minutes.
var soakTime = flag.Duration("soak", 5*time.Second, "time of TestConnectionsSurvive")

// On a bad network, while links are cut, hosts move and servers restart, TCP
// connections stay and carry what they are given. This runs on the real clock,
// through the whole stack.
func TestConnectionsSurvive(t *testing.T) {
	mesh := meshtest.New(t, meshtest.Regions(20*time.Millisecond, "one", "two"))
	bad := meshtest.Link{Latency: 5 * time.Millisecond, Jitter: 3 * time.Millisecond, Loss: 0.01}
	homes := []*meshtest.Network{mesh.Network(meshtest.EasyNAT), mesh.Network(meshtest.EasyNAT)}
	a := mesh.Node("a", meshtest.In(homes[0]), meshtest.Over(bad))
	b := mesh.Node("b", meshtest.NAT(meshtest.EasyNAT), meshtest.Over(bad))
	ln, err := b.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer ln.Close()
	serving.Go(func() { serveEcho(ln, &serving) })

	var done atomic.Bool
	var rounds atomic.Int64
	var talking sync.WaitGroup
	for range 8 {
		conn, err := a.Dial(context.Background(), "tcp", "b:7")
		if err != nil {
			t.Fatal(err)
		}
		talking.Go(func() {
			defer conn.Close()
			for !done.Load() {
				if err := talk(conn); err != nil {
					t.Errorf("a connection is lost after %d exchanges of all: %v", rounds.Load(), err)
					return
				}
				rounds.Add(1)
			}
		})
	}
	at := 0
	troubles := []func(){
		func() { at = 1 - at; mesh.Move(a, homes[at]); mesh.SetLink(a, bad) },
		func() { mesh.Cut(b); pass(2 * time.Second); mesh.Heal(b) },
		func() { mesh.StopRelays("one"); pass(time.Second); mesh.StartRelays("one") },
		func() { mesh.StopCoordinator(); pass(time.Second); mesh.StartCoordinator() },
	}
	for begin := time.Now(); time.Since(begin) < *soakTime && !t.Failed(); {
		troubles[mathrand.IntN(len(troubles))]()
		pass(time.Duration(mathrand.IntN(5000)) * time.Millisecond)
	}
	done.Store(true)
	talking.Wait()
	t.Logf("%d exchanges, path %v", rounds.Load(), mesh.Path(a, b))
}

func pass(d time.Duration) { <-time.After(d) }

func serveEcho(ln net.Listener, serving *sync.WaitGroup) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		serving.Go(func() {
			defer conn.Close()
			io.Copy(conn, conn)
		})
	}
}

// talk sends some random bytes and wants them back.
func talk(conn net.Conn) error {
	// TCP doubles the time between its attempts while there is no way.
	conn.SetDeadline(time.Now().Add(5 * time.Minute))
	out := make([]byte, 1+mathrand.IntN(100_000))
	rand.Read(out)
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(out)
		sent <- err
	}()
	in := make([]byte, len(out))
	_, err := io.ReadFull(conn, in)
	if sendErr := <-sent; err == nil {
		err = sendErr
	}
	if err == nil && !bytes.Equal(in, out) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
