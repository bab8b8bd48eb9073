package netstack

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// of returns a packet of a connection, told by its port, with that much payload.
func of(port uint16, payload int) *stack.PacketBuffer {
	return superSegment(netip.AddrPortFrom(a4, port), netip.AddrPortFrom(b4, 80), 1, header.TCPFlagAck, 1228, make([]byte, payload))
}

func portOfPacket(pkt *stack.PacketBuffer) uint16 {
	return header.TCP(pkt.TransportHeader().Slice()).SourcePort()
}

// apart returns ports of connections in different lanes.
func apart(q *queue, n int) (ports []uint16) {
	seen := make(map[int]bool)
	for port := uint16(1); len(ports) < n; port++ {
		if at := q.laneOf(of(port, 0)); !seen[at] {
			seen[at] = true
			ports = append(ports, port)
		}
	}
	return ports
}

func TestQueueKeepsTheOrderOfAConnection(t *testing.T) {
	q := newQueue()
	for round := range 5 { // past the end of what the lane has room for
		for i := range 300 {
			if !q.put(of(7, 1+i+round)) {
				t.Fatal("there is no room")
			}
		}
		for i := range 300 {
			if pkt := q.take(false); pkt == nil || pkt.Data().Size() != 1+i+round {
				t.Fatalf("packet %d is %v", i, pkt)
			}
		}
	}
	if q.take(false) != nil || q.count != 0 {
		t.Errorf("%d packets are left", q.count)
	}
}

// Each of several connections that have much to send gets as many bytes through as
// the others, whatever the size of its packets.
func TestQueueIsFair(t *testing.T) {
	q := newQueue()
	ports := apart(q, 3)
	sizes := map[uint16]int{ports[0]: 60 << 10, ports[1]: 20 << 10, ports[2]: 5 << 10}
	for port, size := range sizes {
		for range (10 << 20) / size {
			if !q.put(of(port, size)) {
				break
			}
		}
	}
	sent := make(map[uint16]int)
	for total := 0; total < 6<<20; {
		pkt := q.take(false)
		sent[portOfPacket(pkt)] += pkt.Size()
		total += pkt.Size()
	}
	for port, n := range sent {
		if share := 2 << 20; n < share-2*quantum || n > share+2*quantum {
			t.Errorf("with packets of %d bytes %d bytes go through, of %d", sizes[port], n, share)
		}
	}
	if len(sent) != 3 {
		t.Errorf("%d connections get through", len(sent))
	}
}

// A connection that sends now and then waits for no more than one turn of another's.
func TestQueueLetsSparseConnectionsPass(t *testing.T) {
	q := newQueue()
	ports := apart(q, 2)
	for range 200 {
		q.put(of(ports[0], 60<<10))
	}
	for range 20 {
		q.put(of(ports[1], 10))
		waited := 0
		for portOfPacket(q.take(false)) != ports[1] {
			waited++
		}
		if waited > 2 {
			t.Errorf("it waits for %d packets of 60 KiB", waited)
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	q := newQueue()
	n := 0
	for q.put(of(1, 1)) {
		n++
	}
	if n != laneLen {
		t.Errorf("a lane holds %d packets", n)
	}
	for _, port := range apart(q, 20) {
		for q.put(of(port, 1)) {
		}
	}
	if q.count != queueLen {
		t.Errorf("the queue holds %d packets", q.count)
	}
}

func TestQueueEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		read := make(chan *stack.PacketBuffer)
		go func() {
			for range 3 {
				read <- q.take(true)
			}
		}()
		synctest.Wait()
		q.put(of(1, 7))
		if pkt := <-read; pkt.Data().Size() != 7 {
			t.Errorf("read is %v", pkt)
		}
		q.put(of(1, 8))
		q.close()
		if pkt := <-read; pkt.Data().Size() != 8 {
			t.Errorf("what was queued before the end is %v", pkt)
		}
		if pkt := <-read; pkt != nil {
			t.Errorf("after the end comes %v", pkt)
		}
		if q.put(of(1, 1)) {
			t.Error("a closed queue takes a packet")
		}
	})
}
