package tunwrap

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/meshnet-go/meshnet/internal/filter"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/internal/tsmp"
)

// An inner is a TUN device that remembers what is written, and reads what it
// is given.
type inner struct {
	written [][]byte // without the offset
	toRead  [][]byte
}

func (i *inner) Write(bufs [][]byte, offset int) (int, error) {
	for _, buf := range bufs {
		i.written = append(i.written, bytes.Clone(buf[offset:]))
	}
	return len(bufs), nil
}

func (i *inner) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n := min(len(bufs), len(i.toRead))
	for k := range n {
		sizes[k] = copy(bufs[k][offset:], i.toRead[k])
	}
	i.toRead = i.toRead[n:]
	return n, nil
}

func (i *inner) Events() <-chan tun.Event { return nil }
func (i *inner) MTU() (int, error)        { return 1234, nil }
func (i *inner) BatchSize() int           { return 7 }
func (i *inner) Name() (string, error)    { return "inner", nil }
func (i *inner) File() *os.File           { return nil }
func (i *inner) Close() error             { return errors.New("inner closed") }

// newDevice returns a device with a filter that lets everyone to port 80.
func newDevice(t testing.TB) (d *Device, in *inner, injected *[][]byte) {
	in, injected = new(inner), new([][]byte)
	d = New(in, func(packet []byte) { *injected = append(*injected, packet) })
	d.SetFilter(allowing(t, []netip.Addr{a4, a6}, 80))
	return d, in, injected
}

func allowing(t testing.TB, local []netip.Addr, port uint16) *filter.Filter {
	t.Helper()
	config := filter.Config{Rules: []tailcfg.FilterRule{{
		SrcIPs:   []string{"*"},
		DstPorts: []tailcfg.NetPortRange{{IP: "*", Ports: tailcfg.PortRange{First: port, Last: port}}},
	}}}
	for _, addr := range local {
		config.Local = append(config.Local, netip.PrefixFrom(addr, addr.BitLen()))
	}
	f, err := filter.Compile(config)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// packet returns an IP packet with ports; TCP's asks for a connection.
func packet(proto byte, from, to netip.Addr, fromPort, toPort uint16) []byte {
	transport := make([]byte, 20)
	transport[0], transport[1], transport[2], transport[3] = byte(fromPort>>8), byte(fromPort), byte(toPort>>8), byte(toPort)
	transport[13] = 0x02
	return ip(proto, from, to, transport)
}

func ip(proto byte, from, to netip.Addr, payload []byte) []byte {
	return append(appendIPHeader(nil, from, to, proto, len(payload)), payload...)
}

const protoUDP = 17

// message returns a packet of TSMP.
func message(t *testing.T, from, to netip.Addr, m tsmp.Message) []byte {
	t.Helper()
	b, err := tsmp.Packet{Src: from, Dst: to, Message: m}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write gives packets to d as WireGuard does.
func write(t *testing.T, d *Device, packets ...[]byte) {
	t.Helper()
	var bufs [][]byte
	for _, packet := range packets {
		bufs = append(bufs, append(make([]byte, room), packet...))
	}
	if n, err := d.Write(bufs, room); n != len(packets) || err != nil {
		t.Errorf("Write of %d packets: %d, %v", len(packets), n, err)
	}
}

// sent takes packets from d as WireGuard does.
func sent(t *testing.T, d *Device) (packets [][]byte) {
	t.Helper()
	bufs, sizes := [][]byte{make([]byte, 2000), make([]byte, 2000)}, make([]int, 2)
	n, err := d.Read(bufs, sizes, room)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		packets = append(packets, bufs[i][room:room+sizes[i]])
	}
	return packets
}

func TestBatch(t *testing.T) {
	d, in, _ := newDevice(t)
	yes4, yes6 := packet(protoTCP, b4, a4, 1, 80), packet(protoUDP, b6, a6, 1, 80)
	no, elsewhere := packet(protoUDP, b4, a4, 1, 81), packet(protoUDP, b4, netip.MustParseAddr("100.64.0.9"), 1, 80)
	write(t, d, no, yes4, elsewhere, yes6, no)
	if !slices.EqualFunc(in.written, [][]byte{yes4, yes6}, bytes.Equal) {
		t.Errorf("the inner device got %x", in.written)
	}
	c := d.Counters()
	if c.PacketsIn != 2 || c.BytesIn != uint64(len(yes4)+len(yes6)) {
		t.Errorf("%d packets and %d bytes came in", c.PacketsIn, c.BytesIn)
	}
	if want := (map[filter.Verdict]uint64{filter.DropNoRule: 2, filter.DropNotLocal: 1}); fmt.Sprint(c.Dropped) != fmt.Sprint(want) {
		t.Errorf("dropped %v; want %v", c.Dropped, want)
	}
}

func TestNoFilter(t *testing.T) {
	d, in, injected := newDevice(t)
	d.SetFilter(nil)
	write(t, d, packet(protoTCP, b4, a4, 1, 80), message(t, b4, a4, tsmp.Ping{}))
	if len(in.written) != 0 || len(*injected) != 0 {
		t.Errorf("without a filter %x came in and %x went out", in.written, *injected)
	}
}

func TestFlows(t *testing.T) {
	d, in, _ := newDevice(t)
	question, answer := packet(protoUDP, a4, b4, 5000, 53), packet(protoUDP, b4, a4, 53, 5000)
	write(t, d, answer)
	if len(in.written) != 0 {
		t.Error("an answer came in before the question went out")
	}
	in.toRead = [][]byte{question}
	if got := sent(t, d); !slices.EqualFunc(got, [][]byte{question}, bytes.Equal) {
		t.Errorf("read %x", got)
	}
	d.SetFilter(allowing(t, []netip.Addr{a4, a6}, 443)) // flows outlive filters
	write(t, d, answer)
	if !slices.EqualFunc(in.written, [][]byte{answer}, bytes.Equal) {
		t.Errorf("the inner device got %x", in.written)
	}
	if c := d.Counters(); c.PacketsOut != 1 || c.BytesOut != uint64(len(question)) {
		t.Errorf("%d packets and %d bytes went out", c.PacketsOut, c.BytesOut)
	}
}

func TestPing(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{b4, a4}, {b6, a6}} {
		d, in, injected := newDevice(t)
		ping := tsmp.Ping{Data: [8]byte{1, 2, 3}}
		write(t, d, message(t, ends[0], ends[1], ping))
		want := message(t, ends[1], ends[0], tsmp.Pong{Data: ping.Data})
		if !slices.EqualFunc(*injected, [][]byte{want}, bytes.Equal) {
			t.Errorf("a ping was answered by %x; want %x", *injected, want)
		}
		if len(in.written) != 0 {
			t.Errorf("the inner device got %x", in.written)
		}
	}
}

func TestTSMPStaysOutside(t *testing.T) {
	d, in, injected := newDevice(t)
	all, err := filter.Compile(filter.Config{
		Local: []netip.Prefix{netip.PrefixFrom(a4, 32), netip.PrefixFrom(a6, 128)},
		Rules: []tailcfg.FilterRule{{
			SrcIPs:   []string{"*"},
			DstPorts: []tailcfg.NetPortRange{{IP: "*", Ports: tailcfg.PortRange{Last: 65535}}},
			IPProto:  []int{99, 44},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.SetFilter(all)
	ping := message(t, b4, a4, tsmp.Ping{})
	fragment := bytes.Clone(ping)
	fragment[6] = 0x20
	later := bytes.Clone(ping)
	later[7] = 100
	write(t, d,
		ip(tsmp.Protocol, b4, a4, []byte("unknown message")),
		ip(tsmp.Protocol, b6, a6, []byte("unknown message")),
		fragment, later, ping[:21],
		message(t, b4, a4, tsmp.DiscoAdvert{}),
		message(t, b4, a4, tsmp.Pong{}),
	)
	if len(in.written) != 0 || len(*injected) != 0 {
		t.Errorf("%x came in and %x went out", in.written, *injected)
	}
}

func TestDeniedConnectionIsRejected(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{b4, a4}, {b6, a6}} {
		d, _, injected := newDevice(t)
		write(t, d, packet(protoTCP, ends[0], ends[1], 4000, 81), packet(protoUDP, ends[0], ends[1], 4000, 81))
		want := message(t, ends[1], ends[0], tsmp.Reject{Proto: protoTCP, Reason: tsmp.ReasonACL, SrcPort: 4000, DstPort: 81})
		if !slices.EqualFunc(*injected, [][]byte{want}, bytes.Equal) {
			t.Errorf("sent %x; want %x", *injected, want)
		}
	}
}

func TestPassedThrough(t *testing.T) {
	d, _, _ := newDevice(t)
	mtu, _ := d.MTU()
	name, _ := d.Name()
	if mtu != 1234 || d.BatchSize() != 7 || name != "inner" || d.Close() == nil {
		t.Error("the device is not its inner one")
	}
}

func TestAllocations(t *testing.T) {
	d := New(new(sink), func([]byte) {})
	d.SetFilter(allowing(t, []netip.Addr{a4, a6}, 80))
	var bufs, batch [][]byte
	for _, p := range [][]byte{
		packet(protoTCP, b4, a4, 1, 80), packet(protoUDP, b6, a6, 1, 80),
		packet(protoUDP, b4, a4, 1, 81), packet(protoUDP, b4, a4, 53, 5000),
	} {
		bufs = append(bufs, append(make([]byte, room), p...))
	}
	sizes := make([]int, 1)
	out := [][]byte{make([]byte, 2000)}
	if n := testing.AllocsPerRun(100, func() {
		batch = append(batch[:0], bufs...) // Write reorders it
		d.Write(batch, room)
		d.Read(out, sizes, room)
	}); n != 0 {
		t.Errorf("a batch makes %v allocations", n)
	}
}

// A sink is an inner device without memory. It sends one packet again and again.
type sink struct{ inner }

func (*sink) Write(bufs [][]byte, _ int) (int, error) { return len(bufs), nil }

func (*sink) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	sizes[0] = copy(bufs[0][offset:], outbound)
	return 1, nil
}

var outbound = packet(protoUDP, a4, b4, 5000, 53)

// TestConcurrency is for the race detector: peers write at the same time, while
// the filter changes.
func TestConcurrency(t *testing.T) {
	d := New(new(sink), func([]byte) {})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				d.Write([][]byte{packet(protoTCP, b4, a4, 1, 81), packet(protoUDP, b4, a4, 53, 5000)}, 0)
			}
		})
	}
	wg.Go(func() {
		for range 100 {
			d.Read([][]byte{make([]byte, 2000)}, make([]int, 1), 0)
			d.Counters()
		}
	})
	wg.Go(func() {
		for range 100 {
			d.SetFilter(allowing(t, []netip.Addr{a4}, 80))
			d.SetFilter(nil)
		}
	})
	wg.Wait()
}
