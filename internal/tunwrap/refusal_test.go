package tunwrap

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/meshnet-go/meshnet/internal/filter"
	"github.com/meshnet-go/meshnet/internal/netstack"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/internal/tsmp"
)

var (
	a4 = netip.MustParseAddr("100.64.0.1")
	a6 = netip.MustParseAddr("fd7a:115c:a1e0::1")
	b4 = netip.MustParseAddr("100.64.0.2")
	b6 = netip.MustParseAddr("fd7a:115c:a1e0::2")
)

// Laid out by hand from RFC 792 and RFC 4443.
func TestRefusal(t *testing.T) {
	reject := tsmp.Reject{Proto: protoTCP, Reason: tsmp.ReasonACL, SrcPort: 40000, DstPort: 22}
	udp, maybe := reject, reject
	udp.Proto = 17
	maybe.MaybeBroken = true
	for _, tt := range []struct {
		name     string
		from, to netip.Addr
		reject   tsmp.Reject
		want     string
	}{
		{"over IPv4", b4, a4, reject, "45000038 00004000 40017242 64400002 64400001" + "0303 60a6 00000000" +
			"45000028 00004000 4006724d 64400001 64400002" + "9c40 0016 00000000"},
		{"over IPv6", b6, a6, reject, "60000000 0038 3a 40 fd7a115ca1e000000000000000000002 fd7a115ca1e000000000000000000001" + "0104 38fa 00000000" +
			"60000000 0014 06 40 fd7a115ca1e000000000000000000001 fd7a115ca1e000000000000000000002" + "9c40 0016 00000000"},
		{"of a datagram", b4, a4, udp, ""},
		{"which is none, perhaps", b4, a4, maybe, ""},
	} {
		got := hex.EncodeToString(refusal(tt.from, tt.to, tt.reject))
		if want := strings.ReplaceAll(tt.want, " ", ""); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, want)
		}
	}
}

// A host is a stack behind a Device.
type host struct {
	*netstack.Stack
	dev *Device
}

// newHost makes a host that lets connections to port 7 in.
func newHost(t *testing.T, addrs ...netip.Addr) host {
	t.Helper()
	stack, err := netstack.New(netstack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stack.Close() })
	if err := stack.SetAddrs(addrs); err != nil {
		t.Fatal(err)
	}
	rules := []tailcfg.FilterRule{{SrcIPs: []string{"*"}, DstPorts: []tailcfg.NetPortRange{{IP: "*", Ports: tailcfg.PortRange{First: 7, Last: 7}}}}}
	var local []netip.Prefix
	for _, a := range addrs {
		local = append(local, netip.PrefixFrom(a, a.BitLen()))
	}
	f, err := filter.Compile(filter.Config{Rules: rules, Local: local})
	if err != nil {
		t.Fatal(err)
	}
	h := host{stack, New(stack.Tun(), stack.Inject)}
	h.dev.SetFilter(f)
	return h
}

// connect carries packets between two hosts until the test ends.
func connect(t *testing.T, a, b host) {
	var pumps sync.WaitGroup
	pumps.Go(func() { pump(a.dev, b.dev) })
	pumps.Go(func() { pump(b.dev, a.dev) })
	t.Cleanup(func() {
		a.Close()
		b.Close()
		pumps.Wait()
	})
}

func pump(from, to tun.Device) {
	for {
		batch, err := read(from)
		if err != nil {
			return
		}
		to.Write(batch, room)
	}
}

const room = 16 // before each packet, as WireGuard leaves it

// read returns a batch of packets, each behind room.
func read(from tun.Device) ([][]byte, error) {
	bufs, sizes := make([][]byte, from.BatchSize()), make([]int, from.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, room+2000)
	}
	n, err := from.Read(bufs, sizes, room)
	for i := range n {
		bufs[i] = bufs[i][:room+sizes[i]]
	}
	return bufs[:n], err
}

// echo answers one connection to port 7.
func (h host) echo(t *testing.T) {
	t.Helper()
	ln, err := h.ListenTCP("tcp", netip.AddrPortFrom(netip.Addr{}, 7))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		if conn, err := ln.Accept(); err == nil {
			io.Copy(conn, conn)
			conn.Close()
		}
	}()
}

// wantEcho checks that a connection works.
func wantEcho(t *testing.T, sentence string, conn net.Conn) {
	t.Helper()
	deadline, _ := within(t).Deadline()
	conn.SetDeadline(deadline)
	got := make([]byte, 5)
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Errorf("%s: %v", sentence, err)
	} else if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Errorf("%s: the echo is %q, %v", sentence, got, err)
	}
}

// within returns a context for what should take no time at all.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// hear gives a host a message that came out of the tunnel.
func (h host) hear(t *testing.T, p tsmp.Packet) {
	t.Helper()
	packet, err := p.Append(make([]byte, room))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.dev.Write([][]byte{packet}, room); err != nil {
		t.Fatal(err)
	}
}

func TestDialRefusedByThePeersFilter(t *testing.T) {
	for _, addrs := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
		a, b := newHost(t, addrs[0]), newHost(t, addrs[1])
		connect(t, a, b)
		_, err := a.DialTCP(within(t), "tcp", netip.Addr{}, netip.AddrPortFrom(addrs[1], 8))
		var op *net.OpError
		if !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) {
			t.Errorf("dialling what %v does not allow: %v", addrs[1], err)
		}
	}
}

func TestRejectEndsNoOpenConnection(t *testing.T) {
	a, b := newHost(t, a4), newHost(t, b4)
	b.echo(t)
	connect(t, a, b)
	conn, err := a.DialTCP(within(t), "tcp", netip.Addr{}, netip.AddrPortFrom(b4, 7))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	a.hear(t, tsmp.Packet{Src: b4, Dst: a4, Message: tsmp.Reject{Proto: protoTCP, SrcPort: local.Port(), DstPort: 7}})
	wantEcho(t, "after a late reject", conn)
}

// A SYN is on its way, and what arrives meanwhile is not the answer to it.
func TestRejectOfSomethingElse(t *testing.T) {
	a, b := newHost(t, a4), newHost(t, b4)
	b.echo(t)
	type result struct {
		conn net.Conn
		err  error
	}
	dialled := make(chan result, 1)
	go func() {
		conn, err := a.DialTCP(within(t), "tcp", netip.Addr{}, netip.AddrPortFrom(b4, 7))
		dialled <- result{conn, err}
	}()
	syn, err := read(a.dev)
	if err != nil || len(syn) != 1 {
		t.Fatalf("%d packets instead of a SYN: %v", len(syn), err)
	}
	port := filter.Parse(syn[0][room:]).Src.Port()

	other := netip.MustParseAddr("100.64.0.3")
	for _, p := range []tsmp.Packet{
		{Src: other, Dst: a4, Message: tsmp.Reject{Proto: protoTCP, SrcPort: port, DstPort: 7}},
		{Src: b4, Dst: other, Message: tsmp.Reject{Proto: protoTCP, SrcPort: port, DstPort: 7}},
		{Src: b4, Dst: a4, Message: tsmp.Reject{Proto: protoTCP, SrcPort: port + 1, DstPort: 7}},
		{Src: b4, Dst: a4, Message: tsmp.Reject{Proto: protoTCP, SrcPort: port, DstPort: 8}},
		{Src: b4, Dst: a4, Message: tsmp.Reject{Proto: 17, SrcPort: port, DstPort: 7}},
		{Src: b4, Dst: a4, Message: tsmp.Reject{Proto: protoTCP, SrcPort: port, DstPort: 7, MaybeBroken: true}},
		{Src: b4, Dst: a4, Message: tsmp.Pong{}},
	} {
		a.hear(t, p)
	}

	connect(t, a, b)
	if _, err := b.dev.Write(syn, room); err != nil {
		t.Fatal(err)
	}
	r := <-dialled
	if r.err != nil {
		t.Fatalf("the dial ended: %v", r.err)
	}
	defer r.conn.Close()
	wantEcho(t, "after all", r.conn)
}
