package meshnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// captured is a filter that remembers what it is asked.
type captured struct {
	mu      sync.Mutex
	packets []CapturedPacket
}

func (c *captured) filter(p CapturedPacket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.Data = bytes.Clone(p.Data)
	c.packets = append(c.packets, p)
	return p.Protocol == 6 && p.Outgoing
}

func (c *captured) has(is func(CapturedPacket) bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.packets {
		if is(p) {
			return true
		}
	}
	return false
}

func TestCapture(t *testing.T) {
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	echo(t, b, "tcp")
	var file bytes.Buffer
	var seen captured
	c, err := a.Capture(&file, CaptureOptions{Filter: seen.filter, Keep: 40})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer(t, a, "tcp", "b:7", "the text of a connection"); got != "the text of a connection" {
		t.Fatal(got)
	}
	for range 2 { // the second answer is there when the first has been seen
		if _, err := a.Ping(testCtx(t), first(b.IPs()), PingTSMP); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	<-c.Done()
	b7 := netip.AddrPortFrom(first(b.IPs()), 7)
	for what, is := range map[string]func(CapturedPacket) bool{
		"what is sent": func(p CapturedPacket) bool {
			return p.Outgoing && p.Dst == b7 && bytes.Contains(p.Data, []byte("the text"))
		},
		"what arrives": func(p CapturedPacket) bool {
			return !p.Outgoing && p.Src == b7 && bytes.Contains(p.Data, []byte("the text"))
		},
		"the ping":          func(p CapturedPacket) bool { return p.Outgoing && p.Protocol == 99 },
		"the ping's answer": func(p CapturedPacket) bool { return !p.Outgoing && p.Protocol == 99 && p.Dropped == "" },
	} {
		if !seen.has(is) {
			t.Errorf("%s is not seen", what)
		}
	}
	if packets, missing := c.Counts(); packets == 0 || missing != 0 {
		t.Errorf("%d packets, %d missing", packets, missing)
	}
	if bytes.Contains(file.Bytes(), []byte("the text")) {
		t.Error("more than 40 bytes of a packet are kept")
	}
	for _, name := range []string{"a.mesh.internal", "b.mesh.internal"} {
		if !bytes.Contains(file.Bytes(), []byte(name)) {
			t.Errorf("%s is not in the capture", name)
		}
	}
	size := file.Len()
	answer(t, a, "tcp", "b:7", "more")
	if err := c.Stop(); err != nil || file.Len() != size {
		t.Errorf("after the end: %v, %d bytes more", err, file.Len()-size)
	}
}

func first(a, _ netip.Addr) netip.Addr { return a }

// What the policy forbids is seen, with the reason.
func TestCaptureSeesDropped(t *testing.T) {
	s := newScripted(t)
	s.first = func(m *tailcfg.MapResponse) {
		if m.Node.ID == 1 {
			m.PacketFilter = []tailcfg.FilterRule{{SrcIPs: []string{"*"}, DstPorts: []tailcfg.NetPortRange{{IP: "*", Ports: tailcfg.PortRange{First: 7, Last: 7}}}}}
		}
	}
	host, peer := s.up("host"), s.up("peer")
	s.tell(host, peer, nil)
	var file bytes.Buffer
	var seen captured
	c, err := host.Capture(&file, CaptureOptions{Filter: func(p CapturedPacket) bool { seen.filter(p); return true }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Dial(testCtx(t), "tcp", "100.64.0.1:8"); err == nil {
		t.Fatal("the filter does not hold")
	}
	c.Stop()
	if !seen.has(func(p CapturedPacket) bool { return p.Dst.Port() == 8 && p.Dropped == "no rule" }) {
		t.Error("the filter is not asked of what is dropped")
	}
	if !bytes.Contains(file.Bytes(), []byte("drop: no rule")) {
		t.Error("there is no comment")
	}
}

func TestCaptureEnds(t *testing.T) {
	m := newMesh(t, nil)
	node := m.up("node")
	if _, err := node.Capture(io.Discard, CaptureOptions{Keep: -1}); err == nil {
		t.Error("less than nothing is kept")
	}
	full, err := node.Capture(fullWriter{}, CaptureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	<-full.Done()
	if err := full.Stop(); !errors.Is(err, errFull) {
		t.Errorf("Stop: %v", err)
	}
	r, w := io.Pipe() // which nobody reads
	standing, err := node.Capture(w, CaptureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node.Close()
	r.Close()
	<-standing.Done()
	if _, err := node.Capture(io.Discard, CaptureOptions{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Capture after Close: %v", err)
	}
}

// Wireshark's own reader finds what was said, by whom, and what was dropped.
func TestTsharkOpensCapture(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not here")
	}
	m := newMesh(t, nil)
	a, b := m.up("a"), m.up("b")
	echo(t, b, "tcp")
	echo(t, b, "udp")
	path := filepath.Join(t.TempDir(), "mesh.pcapng")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c, err := a.Capture(file, CaptureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, ip6 := b.IPs()
	answer(t, a, "tcp", "b:7", "over IPv4")
	answer(t, a, "tcp", netip.AddrPortFrom(ip6, 7).String(), "over IPv6")
	answer(t, a, "udp", "b:7", "a datagram")
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	tshark := func(args ...string) string {
		cmd := exec.CommandContext(testCtx(t), "tshark", append([]string{"-r", path}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		var complaints strings.Builder
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("tshark %v: %v\n%s", args, err, complaints.String())
		}
		return string(out)
	}
	for filter, want := range map[string]int{
		"tcp.flags.syn == 1 && tcp.flags.ack == 0":                                     2,
		`ip && tcp.payload contains "over IPv4"`:                                       2,
		`ipv6 && tcp.payload contains "over IPv6"`:                                     2,
		`udp.dstport == 7 && udp contains "a datagram"`:                                1,
		`udp.srcport == 7 && udp contains "a datagram"`:                                1,
		`ip.src_host == "b.mesh.internal" && tcp.flags.syn == 1 && tcp.flags.ack == 1`: 1,
		"_ws.malformed || tcp.analysis.lost_segment":                                   0,
	} {
		if got := strings.Count(tshark("-N", "n", "-Y", filter), "\n"); got != want {
			t.Errorf("%s: %d packets, want %d", filter, got, want)
		}
	}
}
