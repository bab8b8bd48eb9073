package netstack

import (
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"golang.zx2c4.com/wireguard/tun"
)

// TCP overruns the short queues of a relay and loses packets all the time. It
// must notice from the packets behind them: each loss that it only notices by
// its timer costs at least 200 ms, and after some of them it stands still.
func TestBulkThroughAShortQueue(t *testing.T) {
	a, b := newStack(t, a4, a6), newStack(t, b4, b6)
	joinByShortQueues(t, a, b)
	client, server := connect(t, a, b, b4)
	for range 3 {
		oneWay(t, client, server, 16<<20)
		oneWay(t, server, client, 16<<20)
	}
	for name, s := range map[string]*Stack{"a": a, "b": b} {
		lost, timeouts := s.ip.Stats().TCP.Retransmits.Value(), s.ip.Stats().TCP.Timeouts.Value()
		t.Logf("%s sent %d segments again, %d after a timeout", name, lost, timeouts)
		if lost == 0 {
			t.Errorf("%s lost nothing: the test shows nothing", name)
		}
		if timeouts > 10 {
			t.Errorf("%s waited for %d timeouts", name, timeouts)
		}
	}
}

// oneWay sends size bytes, and leaves the connection open.
func oneWay(t *testing.T, from io.Writer, to io.Reader, size int64) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(from, rand.NewChaCha8([32]byte{}), size)
		sent <- err
	}()
	if n, err := io.CopyN(io.Discard, to, size); err != nil {
		t.Errorf("received %d bytes, %v", n, err)
	}
	if err := <-sent; err != nil {
		t.Errorf("sending: %v", err)
	}
}

// joinByShortQueues is join with a relay between the stacks: 32 packets wait
// for each of them, as in Tailscale's, and what is new pushes out what is
// oldest.
func joinByShortQueues(t *testing.T, a, b *Stack) {
	var pumps sync.WaitGroup
	pumps.Go(func() { pumpShort(a.Tun(), b.Tun()) })
	pumps.Go(func() { pumpShort(b.Tun(), a.Tun()) })
	t.Cleanup(func() {
		a.Close()
		b.Close()
		pumps.Wait()
	})
}

func pumpShort(from, to tun.Device) {
	queue := make(chan []byte, 32)
	var writer sync.WaitGroup
	writer.Go(func() {
		for packet := range queue {
			to.Write([][]byte{packet}, 0)
		}
	})
	defer writer.Wait()
	defer close(queue)

	bufs := make([][]byte, from.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, 65535)
	}
	sizes := make([]int, len(bufs))
	for {
		n, err := from.Read(bufs, sizes, 0)
		if err != nil {
			return
		}
		for i := range n {
			pushOut(queue, slices.Clone(bufs[i][:sizes[i]]))
		}
	}
}

// pushOut adds a packet to a queue, at the cost of the oldest.
func pushOut(queue chan []byte, packet []byte) {
	for {
		select {
		case queue <- packet:
			return
		default:
		}
		select {
		case <-queue:
		default: // the reader was faster
		}
	}
}
