package udp

import (
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// addBatchedKinds adds batches without the help of the kernel in joining.
func addBatchedKinds(all map[string]func(net.PacketConn) *Conn) {
	all["batches, nothing joined"] = func(pc net.PacketConn) *Conn { return turnOff(New(pc), true, true) }
	all["batches, joined when sent"] = func(pc net.PacketConn) *Conn { return turnOff(New(pc), false, true) }
}

func turnOff(c *Conn, join, gro bool) *Conn {
	b := c.path.(*batched)
	if join {
		b.joinable.Store(0)
	}
	if gro {
		b.raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_UDP, udpGRO, 0) })
	}
	return c
}

func TestKernelJoins(t *testing.T) {
	a, b := New(listen(t, "udp4")), New(listen(t, "udp4"))
	if a.BatchSize() != 128 {
		t.Fatalf("BatchSize is %d, want 128", a.BatchSize())
	}
	if a.path.(*batched).joinable.Load() == 0 {
		t.Skip("this kernel has no UDP_SEGMENT")
	}
	if err := a.WriteBatch(packetsOf(repeat(1000, 40)...), b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	bufs := newBuffers(128)
	n, err := b.ReadBatch(bufs.packets, bufs.sizes, bufs.from)
	if err != nil || n != 40 {
		t.Fatalf("one read has %d datagrams, %v; want 40", n, err)
	}
	if got := b.path.(*batched).reader.received; got != 1 {
		t.Errorf("they came in %d messages, want 1", got)
	}
}

func TestJoined(t *testing.T) {
	for _, tt := range []struct {
		sizes       []int
		join, limit int
		want        []int // packets in each message
	}{
		{[]int{100}, 2000, maxJoined4, []int{1}},
		{[]int{100, 100, 100}, 2000, maxJoined4, []int{3}},
		{[]int{100, 100, 99, 100}, 2000, maxJoined4, []int{3, 1}},
		{[]int{99, 100, 100}, 2000, maxJoined4, []int{1, 2}},
		{[]int{0, 0, 100, 0}, 2000, maxJoined4, []int{1, 1, 1, 1}},
		{[]int{100, 100}, 99, maxJoined4, []int{1, 1}},
		{[]int{100, 100}, 0, maxJoined4, []int{1, 1}},
		{repeat(10, 128), 2000, maxJoined4, []int{64, 64}},
		{repeat(1452, 128), 2000, maxJoined4, []int{45, 45, 38}},
		{[]int{65000, 493, 1}, maxDatagram, maxJoined4, []int{2, 1}},
		{[]int{65000, 493, 1}, maxDatagram, maxJoined6, []int{1, 2}},
		{[]int{65507, 1}, maxDatagram, maxJoined4, []int{1, 1}},
	} {
		var got []int
		for packets := packetsOf(tt.sizes...); len(packets) > 0; {
			n := joined(packets, tt.join, tt.limit)
			got = append(got, n)
			packets = packets[n:]
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%v, joined up to %d bytes: messages of %v packets, want %v", tt.sizes, tt.join, got, tt.want)
		}
	}
}

// TestRefusalToJoin sends what the kernel does not join: its sockets without
// checksums cannot (EINVAL).
func TestRefusalToJoin(t *testing.T) {
	a, b := New(listen(t, "udp4")), New(listen(t, "udp4"))
	inside := a.path.(*batched)
	if inside.joinable.Load() == 0 {
		t.Skip("this kernel has no UDP_SEGMENT")
	}
	const soNoCheck = 11
	inside.raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soNoCheck, 1) })
	packets := packetsOf(200, 100, 100, 100, 200, 200, 7)
	if err := a.WriteBatch(packets, b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	wantPackets(t, b, 128, a.LocalAddr(), packets)
	if got := inside.joinable.Load(); got != 99 {
		t.Errorf("packets of up to %d bytes are joined, want less than those refused", got)
	}
}

func TestRefusalsAreKeptInMind(t *testing.T) {
	for _, tt := range []struct {
		name          string
		joined, alone error
		want          int32
	}{
		{"the device cannot", syscall.EIO, nil, 0},
		{"the packets are fragmented, before Linux 6.14", syscall.EINVAL, nil, 1399},
		{"the packets are fragmented", syscall.EMSGSIZE, nil, 1399},
		{"the packets are too large", syscall.EMSGSIZE, syscall.EMSGSIZE, maxDatagram},
	} {
		b := new(batched)
		b.joinable.Store(maxDatagram)
		b.refused(1400, tt.joined, tt.alone)
		if got := b.joinable.Load(); got != tt.want {
			t.Errorf("%s: packets of up to %d bytes are joined, want %d", tt.name, got, tt.want)
		}
	}
}

// TestUnreachablePort has ICMP errors come while a connected socket, which
// alone hears of them, is read from.
func TestUnreachablePort(t *testing.T) {
	other := listen(t, "udp4")
	pc := listen(t, "udp4")
	c := New(pc)
	raw := c.path.(*batched).raw
	connect := func(to net.Addr) {
		port := to.(*net.UDPAddr).Port
		raw.Control(func(fd uintptr) {
			if err := syscall.Connect(int(fd), &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
				t.Fatal(err)
			}
		})
	}
	connect(other.LocalAddr())
	other.Close()
	raw.Write(func(fd uintptr) bool { syscall.Write(int(fd), []byte("to nobody")); return true })
	raw.Control(func(fd uintptr) {
		if got, _ := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR); got != int(syscall.ECONNREFUSED) {
			t.Fatalf("the socket has error %d, want ECONNREFUSED", got)
		}
	})
	raw.Write(func(fd uintptr) bool { syscall.Write(int(fd), []byte("to nobody")); return true })
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	bufs := newBuffers(1)
	if _, err := c.ReadBatch(bufs.packets, bufs.sizes, bufs.from); err == nil || passes(err) {
		t.Fatalf("ReadBatch: %v, want it to wait until the deadline", err)
	}
}

func TestSocketAddresses(t *testing.T) {
	for _, tt := range []struct {
		addr  string
		inet6 bool
		want  string // empty: refused
	}{
		{"192.0.2.1:7", false, "192.0.2.1:7"},
		{"192.0.2.1:65535", true, "192.0.2.1:65535"},
		{"[2001:db8::1]:258", true, "[2001:db8::1]:258"},
		{"[fe80::1%3]:1", true, "[fe80::1%3]:1"},
		{"[fe80::1%lo]:1", true, "[fe80::1%1]:1"},
		{"[fe80::1%nothing]:1", true, ""},
		{"[2001:db8::1]:258", false, ""},
	} {
		var sa sockaddr
		_, err := putAddr(&sa, netip.MustParseAddrPort(tt.addr), tt.inet6)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s for a socket of the other family, or nowhere: no error", tt.addr)
			}
			continue
		}
		if got := getAddr(&sa); err != nil || got.String() != tt.want {
			t.Errorf("%s, IPv6 %v: %v, %v", tt.addr, tt.inet6, got, err)
		}
	}
	if got := getAddr(&sockaddr{}); got.IsValid() {
		t.Errorf("no address is %v", got)
	}
}

func FuzzJoinedSize(f *testing.F) {
	var c segmentControl
	c.head.Level, c.head.Type, c.size = syscall.IPPROTO_UDP, udpGRO, 1452
	c.head.SetLen(syscall.CmsgLen(4))
	f.Add(unsafe.Slice((*byte)(unsafe.Pointer(&c)), unsafe.Sizeof(c)))
	f.Fuzz(func(t *testing.T, control []byte) {
		words := make([]uint64, (len(control)+7)/8+1) // aligned, as the kernel's are
		aligned := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(control))
		copy(aligned, control)
		joinedSize(aligned)
	})
}
