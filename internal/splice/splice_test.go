package splice

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

// A result is what Conns returned.
type result struct {
	aToB, bToA int64
	err        error
}

func start(a, b net.Conn, idle time.Duration) <-chan result {
	return startWith(context.Background(), a, b, idle)
}

func startWith(ctx context.Context, a, b net.Conn, idle time.Duration) <-chan result {
	done := make(chan result, 1)
	go func() {
		aToB, bToA, err := Conns(ctx, a, b, idle)
		done <- result{aToB, bToA, err}
	}()
	return done
}

func TestHalfCloseIsKeptBothWays(t *testing.T) {
	client, a := tcpPair(t)
	b, server := tcpPair(t)
	done := start(a, b, 0)

	question := make([]byte, 300<<10)
	rand.Read(question)
	go func() {
		client.Write(question)
		client.CloseWrite()
	}()
	got, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(got, question) {
		t.Fatalf("the server read %d bytes, %v; want the %d of the question and its end", len(got), err, len(question))
	}
	if _, err := server.Write([]byte("answer after the end of the question")); err != nil {
		t.Fatal(err)
	}
	server.CloseWrite()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer after the end of the question" {
		t.Fatalf("the client read %q, %v", got, err)
	}
	if r := <-done; r != (result{int64(len(question)), 36, nil}) {
		t.Errorf("the splice ended with %+v", r)
	}
}

func TestAnErrorEndsBoth(t *testing.T) {
	client, a := tcpPair(t)
	b, server := tcpPair(t)
	done := start(a, b, 0)
	server.SetLinger(0)
	server.Close() // a reset
	if _, err := io.ReadAll(client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client is told %v, which looks like an end", err)
	}
	if r := <-done; r.err == nil {
		t.Error("the splice ended without an error after a reset")
	}
}

// Nothing reads from a client that has ended its direction, so that its
// connection being closed ends nothing.
func TestContextEndsAHalfClosedPair(t *testing.T) {
	client, a := tcpPair(t)
	b, server := tcpPair(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := startWith(ctx, a, b, 0)
	client.CloseWrite()
	io.ReadAll(server) // the end has come through
	why := errors.New("enough")
	cancel(why)
	if r := <-done; r.err != why {
		t.Errorf("the splice ended with %v", r.err)
	}
}

func TestWithoutCloseWriteTheEndClosesBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, a := net.Pipe()
		b, server := net.Pipe()
		done := start(a, b, 0)
		client.Close()
		if got, err := io.ReadAll(server); err != nil || len(got) != 0 {
			t.Errorf("the server read %q, %v", got, err)
		}
		if r := <-done; r != (result{}) {
			t.Errorf("the splice ended with %+v", r)
		}
	})
}

func TestIdle(t *testing.T) {
	const idle = time.Minute
	synctest.Test(t, func(t *testing.T) {
		client, a := net.Pipe()
		b, server := net.Pipe()
		begin := time.Now()
		done := start(a, b, idle)
		go io.Copy(io.Discard, server)
		for range 5 {
			time.Sleep(idle - time.Second)
			if _, err := client.Write([]byte("still here")); err != nil {
				t.Fatalf("after %v: %v", time.Since(begin), err)
			}
		}
		r := <-done
		if !errors.Is(r.err, os.ErrDeadlineExceeded) || r.aToB != 50 {
			t.Errorf("the splice ended with %+v", r)
		}
		if took := time.Since(begin); took != 5*(idle-time.Second)+idle {
			t.Errorf("the splice ended after %v: not %v after the last byte", took, idle)
		}
	})
}

// A reader that takes nothing counts as idle too: otherwise it would hold the
// connection for ever.
func TestAStalledReaderIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, a := net.Pipe()
		b, server := net.Pipe()
		defer server.Close()
		done := start(a, b, time.Minute)
		begin := time.Now()
		client.Write([]byte("nobody reads this"))
		if r := <-done; !errors.Is(r.err, os.ErrDeadlineExceeded) {
			t.Errorf("the splice ended with %+v", r)
		}
		if took := time.Since(begin); took != stalledFactor*time.Minute {
			t.Errorf("the splice ended after %v", took)
		}
	})
}

func TestBuffersFitTheLoad(t *testing.T) {
	b := getBuffer(small)
	for _, step := range []struct{ got, want int }{
		{1, small}, {small, large}, {large, large}, {small, large}, {small - 1, small}, {100, small},
	} {
		if b = b.fit(step.got); len(b.bytes) != step.want {
			t.Errorf("after %d bytes the buffer has %d, want %d", step.got, len(b.bytes), step.want)
		}
	}
	b.free()
}

func TestNoAllocationPerChunk(t *testing.T) {
	client, a := tcpPair(t)
	b, server := tcpPair(t)
	done := start(a, b, time.Hour)
	chunk := make([]byte, 16<<10)
	roundTrip := func() {
		client.Write(chunk)
		io.ReadFull(server, chunk)
	}
	roundTrip()
	if n := testing.AllocsPerRun(500, roundTrip); n >= 1 {
		t.Errorf("%v allocations per chunk", n)
	}
	client.Close()
	server.Close()
	<-done
}

func BenchmarkConns(b *testing.B) {
	client, near := tcpPair(b)
	far, server := tcpPair(b)
	done := start(near, far, time.Hour)
	benchmarkStream(b, client, server)
	client.Close()
	server.Close()
	<-done
}

func BenchmarkDirect(b *testing.B) {
	client, server := tcpPair(b)
	benchmarkStream(b, client, server)
}

func benchmarkStream(b *testing.B, client, server net.Conn) {
	chunk := make([]byte, 64<<10)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	go func() {
		for range b.N {
			client.Write(chunk)
		}
	}()
	read := make([]byte, len(chunk))
	for range b.N {
		if _, err := io.ReadFull(server, read); err != nil {
			b.Fatal(err)
		}
	}
}
