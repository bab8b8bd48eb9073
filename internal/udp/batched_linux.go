package udp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	// batch is how many datagrams a call takes, as in wireguard-go.
	batch = 128

	// socket options of linux/udp.h
	udpSegment = 103
	udpGRO     = 104

	// maxDatagram is room for every UDP datagram, and for every message of
	// joined ones.
	maxDatagram = 64 << 10
)

// batched is a socket of the host that reads and writes batches.
type batched struct {
	pc    *net.UDPConn
	raw   syscall.RawConn
	inet6 bool // IPv4 goes as mapped addresses

	// joinable is the largest size of packets that the kernel joins for us, 0
	// for none. It falls when the kernel refuses.
	joinable atomic.Int32

	reader  *reader   // of the goroutine that reads
	writers sync.Pool // of *writer
}

// newBatched returns nil when pc is not of the host, or the host has no
// batches.
func newBatched(pc net.PacketConn) path {
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	b := &batched{pc: conn, raw: raw}
	works := false
	if raw.Control(func(fd uintptr) { works = b.probe(int(fd)) }) != nil || !works {
		return nil
	}
	b.reader = newReader(raw)
	b.writers.New = func() any { return newWriter(raw, b.inet6) }
	return b
}

// probe asks the kernel what it can do, and reports whether that is enough.
func (b *batched) probe(fd int) bool {
	if !implemented(syscall.SYS_RECVMMSG, fd) || !implemented(sysSENDMMSG, fd) {
		return false
	}
	local, err := syscall.Getsockname(fd)
	if err != nil {
		return false
	}
	_, b.inet6 = local.(*syscall.SockaddrInet6)
	if _, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_UDP, udpSegment); err == nil {
		b.joinable.Store(maxDatagram)
	}
	// Kernels before 5.12 have this option but do not tell its value, and had
	// bugs with it.
	syscall.SetsockoptInt(fd, syscall.IPPROTO_UDP, udpGRO, 1)
	if _, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_UDP, udpGRO); err != nil {
		syscall.SetsockoptInt(fd, syscall.IPPROTO_UDP, udpGRO, 0)
	}
	return true
}

// implemented reports whether the kernel, and what may stand before it, lets
// us send or receive no message at all.
func implemented(call uintptr, fd int) bool {
	_, _, errno := syscall.Syscall6(call, uintptr(fd), 0, 0, syscall.MSG_DONTWAIT, 0, 0)
	return errno != syscall.ENOSYS && errno != syscall.EPERM && errno != syscall.EACCES
}

func (b *batched) batchSize() int { return batch }

func (b *batched) read(packets [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	for !b.reader.filled() {
		if err := b.reader.receive(); err != nil {
			if passes(err) {
				continue
			}
			return 0, b.readError(err)
		}
	}
	return b.reader.give(packets, sizes, from), nil
}

func (b *batched) write(packets [][]byte, to netip.AddrPort) error {
	w := b.writers.Get().(*writer)
	defer b.writers.Put(w)
	if err := w.aim(to); err != nil {
		return b.writeError(to, err)
	}
	if err := b.send(w, packets, int(b.joinable.Load())); err != nil {
		return b.writeError(to, err)
	}
	return nil
}

// send sends packets, those of up to join bytes joined.
func (b *batched) send(w *writer, packets [][]byte, join int) (first error) {
	for len(packets) > 0 {
		sent, refused, err := w.send(packets[:min(len(packets), batch)], join)
		packets = packets[sent:]
		switch {
		case err == nil:
			continue
		case refused > 1 && refusal(err):
			alone := b.send(w, packets[:refused], 0)
			b.refused(len(packets[0]), err, alone)
			join = int(b.joinable.Load())
			first, err = firstError(first, alone), alone
		default:
			first = firstError(first, err)
		}
		if err != nil && !TooLarge(err) {
			return first
		}
		packets = packets[refused:]
	}
	return first
}

// refusal reports whether an error may be due to packets having been joined.
// The device or a tunnel on the way cannot do it: EIO. The packets are larger
// than the MTU, so that each would have to be fragmented: EINVAL, and since
// Linux 6.14 EMSGSIZE.
func refusal(err error) bool {
	return err == syscall.EIO || err == syscall.EINVAL || err == syscall.EMSGSIZE
}

// refused keeps in mind that the kernel did not take joined packets of a size,
// and what became of them one by one. Packets that are too large in any case
// say nothing.
func (b *batched) refused(size int, joined, alone error) {
	switch {
	case joined == syscall.EIO:
		b.joinable.Store(0)
	case alone == nil:
		b.joinable.Store(min(b.joinable.Load(), int32(size-1)))
	}
}

func (b *batched) readError(err error) error {
	return b.opError(net.OpError{Op: "read"}, "recvmmsg", err)
}

func (b *batched) writeError(to netip.AddrPort, err error) error {
	return b.opError(net.OpError{Op: "write", Addr: net.UDPAddrFromAddrPort(to)}, "sendmmsg", err)
}

// opError says of an error what package net says.
func (b *batched) opError(op net.OpError, call string, err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err // it has said so already
	}
	op.Net, op.Source, op.Err = "udp", b.pc.LocalAddr(), err
	if errno, ok := err.(syscall.Errno); ok {
		op.Err = os.NewSyscallError(call, errno)
	}
	return &op
}
