package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Case 1: Tailscale's coordinator and relay.
func TestMatrixOnTestcontrol(t *testing.T) {
	tailnet := theirTailnet(t)
	runMatrix(t, tailnet,
		tailnet.startMeshnet(t, "mesh1"),
		tailnet.startRelayed(t, "mesh2"),
		tailnet.startTsnet(t, "ts1"))
}

// Case 2: our coordinator and relay, and preshared keys between our nodes.
func TestMatrixOnCoord(t *testing.T) {
	tailnet := &ourTailnet(t).tailnet
	mesh1, mesh2 := tailnet.newMeshnet(t, "mesh1"), tailnet.newMeshnet(t, "mesh2")
	mesh1.PostQuantum, mesh2.PostQuantum = true, true
	mesh2.relayed()
	mesh1.start(t)
	mesh2.start(t)
	runMatrix(t, tailnet, tailnet.startTsnet(t, "ts1"), tailnet.startTsnet(t, "ts2"), mesh1, mesh2)
	for _, want := range []struct {
		of, with  string
		preshared bool
	}{{"mesh1", "mesh2", true}, {"mesh1", "ts1", false}, {"mesh2", "mesh1", true}, {"mesh2", "ts2", false}} {
		node := map[string]*meshnetNode{"mesh1": mesh1, "mesh2": mesh2}[want.of]
		peer, _ := node.peer(want.with)
		equal(t, "a preshared key of "+want.of+" with "+want.with, peer.PostQuantum, want.preshared)
	}
}

// way tells pairs that have a direct path from those that have none.
func way(nodes ...node) string {
	for _, n := range nodes {
		if m, ok := n.(*meshnetNode); ok && m.onlyRelays {
			return " through a relay"
		}
	}
	return ""
}

// runMatrix tries everything between every two of the nodes, in both
// directions.
func runMatrix(t *testing.T, tailnet *tailnet, nodes ...node) {
	awaitPeers(t, tailnet.suffix, nodes...)
	measured := make(map[string]bool) // pairs of kinds that have carried the bulk
	for _, from := range nodes {
		for _, to := range nodes {
			if from == to {
				continue
			}
			p := pair{tailnet, from, to}
			p.everyAddress(t)
			p.try(t, "half-close by the dialer", p.halfCloseByDialer)
			p.try(t, "half-close by the listener", p.halfCloseByListener)
			p.try(t, "whois of the dialer", p.whoIsDialer)
			p.try(t, "whois of the listener", p.whoIsListener)

			kinds := from.kind() + " to " + to.kind() + way(from, to)
			oursIsIn := from.kind() == "meshnet" || to.kind() == "meshnet"
			if oursIsIn && !measured[kinds] {
				measured[kinds] = true
				p.try(t, fmt.Sprintf("%d MiB there and back", *bulkMiB), p.bulk)
			}
		}
	}
}

// pair is one node that dials and one that listens.
type pair struct {
	tailnet  *tailnet
	from, to node
}

// everyAddress dials TCP and UDP over IPv4 and IPv6, by address and by name.
func (p pair) everyAddress(t *testing.T) {
	ip4, ip6 := p.to.ips()
	full, short := fullName(p.to, p.tailnet.suffix), p.to.host()
	for _, c := range []struct{ version, by, host string }{
		{"4", "address", ip4.String()},
		{"4", "full name", full},
		{"4", "full name with a dot", full + "."},
		{"4", "short name", short},
		{"6", "address", ip6.String()},
		{"6", "full name", full},
		{"6", "short name", short},
		{"", "full name", full},
		{"", "short name", short},
	} {
		p.try(t, "tcp"+c.version+" by "+c.by, func(ctx context.Context) (string, error) {
			return "", p.tcpEcho(ctx, "tcp"+c.version, c.host)
		})
		p.try(t, "udp"+c.version+" by "+c.by, func(ctx context.Context) (string, error) {
			return "", p.udpEcho(ctx, "udp"+c.version, c.host)
		})
	}
}

// try runs one cell of the matrix and writes it into the table. A cell returns
// a note for the table.
func (p pair) try(t *testing.T, what string, cell func(context.Context) (note string, err error)) {
	t.Run(fmt.Sprintf("%s to %s/%s", p.from.host(), p.to.host(), what), func(t *testing.T) {
		note, err := cell(within(t, 45*time.Second))
		matrix.add(row{p.tailnet.kind, p.from.host(), p.to.host(), what, err, note})
		if err != nil {
			t.Error(err)
		}
	})
}

// stream is one end of a TCP connection.
type stream interface {
	net.Conn
	CloseWrite() error
}

// connect opens a TCP connection from one node to a new listener of the other
// and returns both ends of it.
func (p pair) connect(ctx context.Context, network, host string) (dialed, accepted stream, err error) {
	ln, err := p.to.listen("tcp", ":0")
	if err != nil {
		return nil, nil, fmt.Errorf("listening: %w", err)
	}
	defer ln.Close()
	accepts := make(chan net.Conn, 1)
	go func() {
		if c, err := ln.Accept(); err == nil {
			accepts <- c
		}
	}()

	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, nil, fmt.Errorf("the listener's address: %w", err)
	}
	c, err := p.from.dial(ctx, network, net.JoinHostPort(host, port))
	if err != nil {
		return nil, nil, fmt.Errorf("dialing: %w", err)
	}
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	select {
	case a := <-accepts:
		a.SetDeadline(deadline)
		return asStreams(c, a)
	case <-ctx.Done():
		c.Close()
		return nil, nil, fmt.Errorf("accepting: %w", ctx.Err())
	}
}

func asStreams(dialed, accepted net.Conn) (d, a stream, err error) {
	d, ok := dialed.(stream)
	if !ok {
		return nil, nil, fmt.Errorf("a dialed %T has no CloseWrite", dialed)
	}
	a, ok = accepted.(stream)
	if !ok {
		return nil, nil, fmt.Errorf("an accepted %T has no CloseWrite", accepted)
	}
	return d, a, nil
}

// tcpEcho sends a sentence and reads it back, and checks that both ends agree
// about their addresses.
func (p pair) tcpEcho(ctx context.Context, network, host string) error {
	dialed, accepted, err := p.connect(ctx, network, host)
	if err != nil {
		return err
	}
	defer dialed.Close()
	defer accepted.Close()
	if err := p.isDialer(accepted.RemoteAddr(), network); err != nil {
		return err
	}
	if err := carry(dialed, accepted, "there and"); err != nil {
		return err
	}
	return carry(accepted, dialed, "back again")
}

// carry writes a text at one end and reads it at the other.
func carry(from io.Writer, to io.Reader, text string) error {
	if _, err := io.WriteString(from, text); err != nil {
		return fmt.Errorf("writing %q: %w", text, err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil {
		return fmt.Errorf("reading %q: %w", text, err)
	}
	if string(got) != text {
		return fmt.Errorf("%q came as %q", text, got)
	}
	return nil
}

// isDialer checks that addr is the dialer's, and of the network's IP version.
func (p pair) isDialer(addr net.Addr, network string) error {
	from, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return fmt.Errorf("the remote address %v (%T): %w", addr, addr, err)
	}
	ip4, ip6 := p.from.ips()
	switch from.Addr() {
	case ip4:
		if network[3:] != "6" {
			return nil
		}
	case ip6:
		if network[3:] != "4" {
			return nil
		}
	}
	return fmt.Errorf("the remote address of a %s connection is %v; the dialer's are %v and %v", network, from, ip4, ip6)
}

// udpEcho sends a datagram until it has been answered: the first may be lost
// on the way.
func (p pair) udpEcho(ctx context.Context, network, host string) error {
	ip4, ip6 := p.to.ips()
	if network != "udp6" {
		ip6 = ip4 // a name without a version is that of the IPv4 address
	}
	server, err := p.to.listenPacket("udp", netip.AddrPortFrom(ip6, 0).String())
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	defer server.Close()
	_, port, err := net.SplitHostPort(server.LocalAddr().String())
	if err != nil {
		return fmt.Errorf("the listener's address: %w", err)
	}
	client, err := p.from.dial(ctx, network, net.JoinHostPort(host, port))
	if err != nil {
		return fmt.Errorf("dialing: %w", err)
	}
	defer client.Close()
	answered := make(chan error, 1)
	go func() { answered <- p.answerDatagrams(server, network) }()
	if err := exchange(ctx, client); err != nil {
		server.Close()
		return errors.Join(err, <-answered)
	}
	server.Close()
	return <-answered
}

// answerDatagrams sends every datagram back until the socket is closed, and
// returns whether one came from somebody else than the dialer.
func (p pair) answerDatagrams(server net.PacketConn, network string) error {
	buf := make([]byte, 2000)
	var wrong error
	for {
		n, from, err := server.ReadFrom(buf)
		if err != nil {
			return wrong
		}
		if err := p.isDialer(from, network); err != nil {
			wrong = err
		}
		server.WriteTo(buf[:n], from)
	}
}

// exchange sends a datagram each quarter second until one has come back.
func exchange(ctx context.Context, c net.Conn) error {
	const text = "a datagram"
	buf := make([]byte, 2000)
	for {
		if _, err := c.Write([]byte(text)); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		c.SetReadDeadline(time.Now().Add(250 * time.Millisecond))
		n, err := c.Read(buf)
		switch {
		case err == nil && string(buf[:n]) == text:
			return nil
		case err == nil:
			return fmt.Errorf("%q came back as %q", text, buf[:n])
		case ctx.Err() != nil:
			return fmt.Errorf("waiting for an answer: %w", err)
		}
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			return fmt.Errorf("reading: %w", err)
		}
	}
}

// halfCloseByDialer: the dialer ends its side, and the other direction works on.
func (p pair) halfCloseByDialer(ctx context.Context) (string, error) {
	dialed, accepted, err := p.connect(ctx, "tcp", p.address())
	if err != nil {
		return "", err
	}
	defer dialed.Close()
	defer accepted.Close()
	return "", halfClose(dialed, accepted)
}

// halfCloseByListener: the same, the other way round.
func (p pair) halfCloseByListener(ctx context.Context) (string, error) {
	dialed, accepted, err := p.connect(ctx, "tcp", p.address())
	if err != nil {
		return "", err
	}
	defer dialed.Close()
	defer accepted.Close()
	return "", halfClose(accepted, dialed)
}

func (p pair) address() string {
	ip4, _ := p.to.ips()
	return ip4.String()
}

// halfClose closes the writing side of one end. The other must see the end of
// the stream, and still be heard.
func halfClose(closer, other stream) error {
	if err := carry(closer, other, "my last words"); err != nil {
		return err
	}
	if err := closer.CloseWrite(); err != nil {
		return fmt.Errorf("half-closing: %w", err)
	}
	if rest, err := io.ReadAll(other); err != nil || len(rest) > 0 {
		return fmt.Errorf("the end of the stream came as %q, %v", rest, err)
	}
	if err := carry(other, closer, "yours were heard"); err != nil {
		return fmt.Errorf("after the half-close: %w", err)
	}
	if err := other.Close(); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	if rest, err := io.ReadAll(closer); err != nil || len(rest) > 0 {
		return fmt.Errorf("the end of the other direction came as %q, %v", rest, err)
	}
	return nil
}

// whoIsDialer: the listener learns from a connection who has dialed.
func (p pair) whoIsDialer(ctx context.Context) (string, error) {
	dialed, accepted, err := p.connect(ctx, "tcp", p.address())
	if err != nil {
		return "", err
	}
	defer dialed.Close()
	defer accepted.Close()
	return names(ctx, p.to, accepted.RemoteAddr().String(), fullName(p.from, p.tailnet.suffix))
}

// whoIsListener: the dialer learns from its connection who listens.
func (p pair) whoIsListener(ctx context.Context) (string, error) {
	dialed, accepted, err := p.connect(ctx, "tcp6", p.address6())
	if err != nil {
		return "", err
	}
	defer dialed.Close()
	defer accepted.Close()
	return names(ctx, p.from, dialed.RemoteAddr().String(), fullName(p.to, p.tailnet.suffix))
}

func (p pair) address6() string {
	_, ip6 := p.to.ips()
	return ip6.String()
}

// names checks that n knows by what name and whose the node at addr is.
func names(ctx context.Context, n node, addr, want string) (login string, err error) {
	name, login, err := n.whoIs(ctx, addr)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s is unknown: %w", addr, err)
	case name != want:
		return "", fmt.Errorf("%s is %q, not %q", addr, name, want)
	case login == "":
		return "", fmt.Errorf("%s is %q, but of nobody", addr, name)
	}
	return login, nil
}

// bulkMiB may be less where nodes are slow, as under the race detector.
var bulkMiB = flag.Int64("bulk", 64, "how many MiB the matrix carries in each direction")

// bulk carries the bulk there and back. Neither side half-closes between:
// gVisor, which both kinds of node run on, acknowledges losses selectively only
// while both directions are open, so that a half-closed connection crawls
// through a relay that drops packets (gVisor 20260905, sendRaw).
func (p pair) bulk(ctx context.Context) (string, error) {
	dialed, accepted, err := p.connect(ctx, "tcp", p.address())
	if err != nil {
		return "", err
	}
	defer dialed.Close()
	defer accepted.Close()
	there, err := transfer(dialed, accepted)
	if err != nil {
		return "", fmt.Errorf("there: %w", err)
	}
	back, err := transfer(accepted, dialed)
	if err != nil {
		return "", fmt.Errorf("back: %w", err)
	}
	mib := float64(*bulkMiB)
	return fmt.Sprintf("%.0f and %.0f MiB/s", mib/there.Seconds(), mib/back.Seconds()), nil
}

// transfer sends the bulk and compares checksums.
func transfer(from io.Writer, to io.Reader) (time.Duration, error) {
	start := time.Now()
	size := *bulkMiB << 20
	sent := make(chan error, 1)
	want := sha256.New()
	go func() {
		_, err := io.CopyN(io.MultiWriter(from, want), rand.NewChaCha8([32]byte{}), size)
		sent <- err
	}()
	got := sha256.New()
	n, err := io.CopyN(got, to, size)
	if err != nil {
		return 0, fmt.Errorf("receiving, after %d bytes: %w", n, err)
	}
	if err := <-sent; err != nil {
		return 0, fmt.Errorf("sending: %w", err)
	}
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return 0, errors.New("the checksums differ")
	}
	return time.Since(start), nil
}
