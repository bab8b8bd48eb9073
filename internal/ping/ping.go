// Package ping asks a node of the mesh, inside the tunnel, whether it is there:
// by TSMP, which the node itself answers, or by ICMP echo, which the host
// behind it answers.
//
//	WireGuard ── Write ── an answer to us? who asked is told ── inner.Write
//	WireGuard ── Read  ──────────────────────────────────────── inner.Read
//
// What a Device asks is 8 random bytes, which the answer repeats:
//
//	TSMP   'p', 8 random                              answer: 'o', 8 random, …
//	ICMP   type, code, checksum, id, 0, 8 random      answer: the same of the other type
package ping

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/meshnet-go/meshnet/internal/tsmp"
)

// Kind is how a node is asked.
type Kind int

// The kinds.
const (
	TSMP Kind = iota
	ICMP
)

// Device is a [tun.Device] that hears answers to its own questions in what goes
// to the inner one. While nobody asks it costs one atomic load for a batch.
// Closing it closes the inner one.
type Device struct {
	tun.Device
	inject func(packet []byte)

	asking atomic.Int32 // len(asked)
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex
	asked map[token]question
}

type question struct {
	kind     Kind
	dst      netip.Addr
	answered chan time.Time // holds one
}

// New wraps inner. Questions go to inject as whole IP packets, which must then
// come out of inner's Read; inject must not wait, and owns the packet.
func New(inner tun.Device, inject func(packet []byte)) *Device {
	return &Device{Device: inner, inject: inject, closed: make(chan struct{}), asked: make(map[token]question)}
}

// Ask sends one question from src, an address of ours, to dst, and returns how
// long the answer took. It waits for ctx, with whose error it returns when
// there is no answer, or until the Device is closed.
func (d *Device) Ask(ctx context.Context, kind Kind, src, dst netip.Addr) (time.Duration, error) {
	var t token
	rand.Read(t[:]) // never fails
	packet, err := request(kind, src, dst, t)
	if err != nil {
		return 0, err
	}
	answered := make(chan time.Time, 1)
	d.add(t, question{kind, dst, answered})
	defer d.remove(t)
	sent := time.Now()
	d.inject(packet)
	select {
	case at := <-answered:
		return at.Sub(sent), nil
	case <-d.closed:
		return 0, net.ErrClosed
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func request(kind Kind, src, dst netip.Addr, t token) ([]byte, error) {
	switch kind {
	case TSMP:
		return tsmp.Packet{Src: src, Dst: dst, Message: tsmp.Ping{Data: t}}.Append(nil)
	case ICMP:
		return icmpRequest(src, dst, t)
	}
	return nil, errors.New("ping: no such kind of question")
}

func (d *Device) add(t token, q question) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[t] = q
	d.asking.Store(int32(len(d.asked)))
}

func (d *Device) remove(t token) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.asked, t)
	d.asking.Store(int32(len(d.asked)))
}

// Write tells who asked of the answers in a batch, and passes on all of it: that
// there was an answer does not matter to the packet filter, and to counters it
// is a packet like others.
func (d *Device) Write(bufs [][]byte, offset int) (int, error) {
	if d.asking.Load() > 0 {
		for _, buf := range bufs {
			d.tell(buf[offset:])
		}
	}
	return d.Device.Write(bufs, offset)
}

// tell tells who asked, if a packet is an answer to us.
func (d *Device) tell(packet []byte) {
	t, src, kind, ok := answer(packet)
	if !ok {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	q, ok := d.asked[t]
	if !ok || q.kind != kind || q.dst != src {
		return
	}
	select {
	case q.answered <- time.Now():
	default: // the second copy
	}
}

// Close closes the inner device, and ends all questions.
func (d *Device) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Device.Close()
}
