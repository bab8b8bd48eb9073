package udp

import (
	"net/netip"
	"syscall"
	"unsafe"
)

// readMessages is how many messages are received at once. Each has a buffer of
// 64 KiB, as each may be many datagrams; three full ones fill a batch.
const readMessages = 8

// reader receives messages into buffers of its own, and gives their datagrams
// out one by one, over several calls if need be.
type reader struct {
	raw   syscall.RawConn
	recv  func(fd uintptr) bool // the system call, bound once
	errno syscall.Errno         // of it

	messages [readMessages]message
	vecs     [readMessages]syscall.Iovec
	names    [readMessages]sockaddr
	controls [readMessages][8]uint64 // words, for the kernel's alignment
	buffers  []byte                  // 64 KiB each; memory that is never written to costs none

	received int // messages filled
	next     int // the one to give out
	given    int // bytes of it that have been
}

func newReader(raw syscall.RawConn) *reader {
	r := &reader{raw: raw, buffers: make([]byte, readMessages*maxDatagram)}
	for i := range r.messages {
		r.vecs[i].Base = &r.buffer(i)[0]
		r.vecs[i].SetLen(maxDatagram)
		head := &r.messages[i].head
		head.Iov = &r.vecs[i]
		setLen(&head.Iovlen, 1)
		head.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		head.Control = (*byte)(unsafe.Pointer(&r.controls[i]))
	}
	r.recv = r.recvmmsg
	return r
}

func (r *reader) buffer(i int) []byte { return r.buffers[i*maxDatagram:][:maxDatagram] }

// filled reports whether there is something to give.
func (r *reader) filled() bool { return r.next < r.received }

// receive waits for messages. It must not be called while there is something
// to give.
func (r *reader) receive() error {
	for i := range r.messages {
		head := &r.messages[i].head
		head.Namelen = syscall.SizeofSockaddrInet6
		head.SetControllen(int(unsafe.Sizeof(r.controls[i])))
		head.Flags = 0
	}
	r.received, r.next, r.given = 0, 0, 0
	if err := r.raw.Read(r.recv); err != nil {
		return err
	}
	if r.errno != 0 {
		return r.errno
	}
	return nil
}

// recvmmsg is called with the socket, and returns false to be called again
// when it is readable.
func (r *reader) recvmmsg(fd uintptr) bool {
	for {
		n, _, errno := syscall.Syscall6(syscall.SYS_RECVMMSG, fd,
			uintptr(unsafe.Pointer(&r.messages)), readMessages, syscall.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			r.received, r.errno = int(n), 0
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			r.errno = errno
			return true
		}
	}
}

// give fills packets with datagrams until there are no more of either.
func (r *reader) give(packets [][]byte, sizes []int, from []netip.AddrPort) (n int) {
	for n < len(packets) && r.filled() {
		n += r.giveMessage(packets[n:], sizes[n:], from[n:])
	}
	return n
}

// giveMessage fills packets with datagrams of the next message.
func (r *reader) giveMessage(packets [][]byte, sizes []int, from []netip.AddrPort) (n int) {
	m := &r.messages[r.next]
	rest := r.buffer(r.next)[r.given:m.size]
	addr := getAddr(&r.names[r.next])
	size := joinedSize(r.control(r.next))
	if size <= 0 {
		size = len(rest)
	}
	for n < len(packets) {
		datagram := rest[:min(size, len(rest))]
		rest = rest[len(datagram):]
		sizes[n], from[n] = copy(packets[n], datagram), addr
		n++
		if len(rest) == 0 {
			r.next, r.given = r.next+1, 0
			return n
		}
	}
	r.given = int(m.size) - len(rest)
	return n
}

// control returns the control messages of message i.
func (r *reader) control(i int) []byte {
	all := unsafe.Slice((*byte)(unsafe.Pointer(&r.controls[i])), unsafe.Sizeof(r.controls[i]))
	return all[:min(int(r.messages[i].head.Controllen), len(all))]
}
