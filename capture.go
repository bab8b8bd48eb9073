package meshnet

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/internal/capture"
	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/pcapng"
	"github.com/meshnet-go/meshnet/internal/tunwrap"
)

// CaptureOptions say what a capture keeps. The zero value is all of it.
type CaptureOptions struct {
	// Filter decides whether a packet is kept; nil keeps all. The node's packets
	// wait for it: it must be quick, and call no method of the Server. It is
	// called with one packet at a time.
	Filter func(CapturedPacket) bool
	// Keep is how many bytes of a packet are kept at most; 0 is all.
	Keep int
}

// CapturedPacket is a packet inside the tunnel.
type CapturedPacket struct {
	// Src and Dst are not valid when the packet could not be read. Ports are 0 in
	// protocols and fragments that have none.
	Src, Dst netip.AddrPort
	Protocol uint8 // the IP protocol number: 6 for TCP, 17 for UDP
	Outgoing bool  // from this node to a peer
	// Dropped is why the packet filter did not let a packet in that came, such
	// as "no rule" for what the mesh's policy does not allow; empty if it did.
	Dropped string
	// Data is the packet from its IP header on. It is valid during the call alone,
	// and must not be changed.
	Data []byte
}

// A Capture is under way until Stop, an error of its writer, or [Server.Close],
// which does not wait for the writer: Done tells when that has all.
type Capture struct {
	options CaptureOptions
	file    *capture.Capture
	remove  func() // the tap
}

// Capture writes the packets inside the tunnel to w as pcapng, which Wireshark,
// tshark and tcpdump read: what leaves the node, and what arrives, be it let in
// or not. A packet that the packet filter dropped has a comment that says so. The
// names of the nodes that are known at the start are in the capture, too. Any
// number of them may be under way.
//
// The packets do not wait for w: when it is slow, some are missing from the
// capture, which says how many. A node without a capture pays nothing for it.
// What is captured is the plain text of connections; it is as secret as they are.
//
// Capture starts the node if need be, and does not wait for it.
func (s *Server) Capture(w io.Writer, options CaptureOptions) (*Capture, error) {
	if options.Keep < 0 {
		return nil, errors.New("meshnet: a capture cannot keep less than nothing of a packet")
	}
	n, err := s.start()
	if err != nil {
		return nil, fmt.Errorf("meshnet: starting a capture: %w", err)
	}
	options.Keep = cmp.Or(options.Keep, maxCaptured)
	c := &Capture{
		options: options,
		file:    capture.New(w, captureHeader(n.cfg.hostname, n.view.load().netMap, options.Keep)),
	}
	c.remove = n.tun.Tap(c.take)
	n.captures.add(c)
	go func() { // because the writer may end it
		<-c.Done()
		n.captures.remove(c)
	}()
	return c, nil
}

// maxCaptured is more than any packet has.
const maxCaptured = 1 << 18

func captureHeader(hostname string, m *netmap.Map, keep int) []byte {
	b := pcapng.AppendHeader(nil, "meshnet", hostname, keep)
	if m == nil {
		return b
	}
	for _, p := range append(m.Peers[:len(m.Peers):len(m.Peers)], m.Self) {
		for _, addr := range addrs(p) {
			b = pcapng.AppendName(b, addr, strings.TrimSuffix(p.Name, "."))
		}
	}
	return b
}

// take is the tap.
func (c *Capture) take(s tunwrap.Seen) {
	packet := CapturedPacket{Src: s.Packet.Src, Dst: s.Packet.Dst, Protocol: s.Packet.Proto, Outgoing: s.Outgoing, Data: s.Data}
	if !s.Outgoing && !s.Verdict.Accepted() {
		packet.Dropped = strings.TrimPrefix(s.Verdict.String(), "drop: ")
	}
	if c.options.Filter != nil && !c.options.Filter(packet) {
		return
	}
	kept := pcapng.Packet{Time: time.Now(), Outgoing: s.Outgoing, Data: s.Data[:min(len(s.Data), c.options.Keep)], Size: len(s.Data)}
	if packet.Dropped != "" {
		kept.Comment = s.Verdict.String()
	}
	c.file.Add(kept)
}

// Stop ends the capture and returns when all of it is written, with the writer's
// error if there was one. More calls do the same. A writer that stands still
// keeps Stop waiting, but not [Server.Close].
func (c *Capture) Stop() error {
	c.end()
	if err := c.file.Stop(); err != nil {
		return fmt.Errorf("meshnet: %w", err)
	}
	return nil
}

// end takes no more packets.
func (c *Capture) end() {
	c.remove()
	c.file.End()
}

// Done is closed when the capture has ended, for whatever reason, and w is no
// longer written to.
func (c *Capture) Done() <-chan struct{} { return c.file.Done() }

// Counts returns how many packets the filter chose so far, and how many of them
// are missing because the writer was too slow.
func (c *Capture) Counts() (packets, missing uint64) { return c.file.Counts() }

// captures are those of a node that are under way.
type captures struct {
	mu       sync.Mutex
	underWay map[*Capture]bool // guarded by mu
	closed   bool              // guarded by mu
}

func (c *captures) add(added *Capture) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		added.end()
		return
	}
	if c.underWay == nil {
		c.underWay = make(map[*Capture]bool)
	}
	c.underWay[added] = true
}

func (c *captures) remove(ended *Capture) {
	ended.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.underWay, ended)
}

// close ends all, without waiting for their writers.
func (c *captures) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for capture := range c.underWay {
		capture.end()
	}
}
