package udp

import (
	"net/netip"
	"syscall"
	"unsafe"
)

const (
	// maxJoined is how many datagrams the kernel cuts a message into (udp.h).
	maxJoined = 64

	// A larger message than these fits the IP header, but not together with
	// the Ethernet header into what the kernel hands to a device, so that the
	// kernel cuts it itself, at half the speed.
	maxJoined4 = 65493
	maxJoined6 = 65473
)

// writer sends a batch to one address.
type writer struct {
	raw    syscall.RawConn
	inet6  bool
	write  func(fd uintptr) bool // the system call, bound once
	queued int                   // messages to be sent by it
	sent   int                   // messages that were
	errno  syscall.Errno

	to       sockaddr
	limit    int // bytes in a message of joined packets
	messages [batch]message
	vecs     [batch]syscall.Iovec // one per packet
	controls [batch]segmentControl
}

func newWriter(raw syscall.RawConn, inet6 bool) *writer {
	w := &writer{raw: raw, inet6: inet6}
	for i := range w.messages {
		w.messages[i].head.Name = (*byte)(unsafe.Pointer(&w.to))
	}
	w.write = w.sendmmsg
	return w
}

// aim sets where packets go.
func (w *writer) aim(to netip.AddrPort) error {
	size, err := putAddr(&w.to, to, w.inet6)
	if err != nil {
		return err
	}
	for i := range w.messages {
		w.messages[i].head.Namelen = size
	}
	w.limit = maxJoined6
	if to.Addr().Is4() {
		w.limit = maxJoined4
	}
	return nil
}

// send sends up to a batch of packets, those of up to join bytes joined, and
// returns how many have gone. With an error, the next `refused` packets, one
// message, were what the kernel did not take: a bare Errno.
func (w *writer) send(packets [][]byte, join int) (sent, refused int, err error) {
	w.fill(packets, join)
	defer clear(w.vecs[:len(packets)]) // they are the caller's again
	if err := w.raw.Write(w.write); err != nil {
		return 0, len(packets), err
	}
	for i := range w.sent {
		sent += int(w.messages[i].head.Iovlen)
	}
	if w.errno != 0 {
		return sent, int(w.messages[w.sent].head.Iovlen), w.errno
	}
	return sent, 0, nil
}

// fill makes messages of packets.
func (w *writer) fill(packets [][]byte, join int) {
	w.queued = 0
	for first := 0; first < len(packets); {
		n := joined(packets[first:], join, w.limit)
		head := &w.messages[w.queued].head
		head.Iov = &w.vecs[first]
		setLen(&head.Iovlen, n)
		head.Control = nil
		head.SetControllen(0)
		if n > 1 {
			control := &w.controls[w.queued]
			control.set(len(packets[first]))
			head.Control = (*byte)(unsafe.Pointer(control))
			head.SetControllen(syscall.CmsgSpace(2))
		}
		for i, packet := range packets[first : first+n] {
			w.vecs[first+i].Base = unsafe.SliceData(packet)
			w.vecs[first+i].SetLen(len(packet))
		}
		first += n
		w.queued++
	}
}

// joined returns how many of packets, which are not none, make one message: as
// many as have the size of the first, which is join at most, and one more that
// is smaller.
func joined(packets [][]byte, join, limit int) int {
	size := len(packets[0])
	if size == 0 || size > join {
		return 1
	}
	n, total := 1, size
	for n < min(len(packets), maxJoined) {
		next := len(packets[n])
		if next == 0 || next > size || total+next > limit {
			break
		}
		n++
		total += next
		if next < size {
			break
		}
	}
	return n
}

// sendmmsg is called with the socket, and returns false to be called again
// when it is writable.
func (w *writer) sendmmsg(fd uintptr) bool {
	for {
		n, _, errno := syscall.Syscall6(sysSENDMMSG, fd,
			uintptr(unsafe.Pointer(&w.messages)), uintptr(w.queued), syscall.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			w.sent, w.errno = int(n), 0
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			w.sent, w.errno = 0, errno
			return true
		}
	}
}
