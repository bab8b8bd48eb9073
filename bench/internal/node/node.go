// Package node is the program of a node under test, whichever software it runs:
// a Peer has the software, and everything else is the same for all.
package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

// A Peer is one node of some network software.
type Peer interface {
	// Up joins the network, and returns the node's address in it.
	Up(ctx context.Context) (netip.Addr, error)
	// Dial connects to another node: an IP address and a port.
	Dial(ctx context.Context, addr string) (net.Conn, error)
	// Listen listens on a TCP port.
	Listen(port uint16) (net.Listener, error)
	// Traffic is what the node's own counters say.
	Traffic() (Traffic, error)
	Close() error
}

// An Eager peer's Dial waits for the network itself, and may be called at the
// same time as Up.
type Eager interface{ DialWaits() }

// Traffic counts the bytes that a node has exchanged with others, or packets
// where it has no other count, by the path
// that they took. Handshakes and overhead may count or not.
type Traffic struct{ Direct, Relayed uint64 }

// Config is what a node is told when it is started.
type Config struct {
	Hostname string
	// Addr is the node's host, Other that of the other node, and MTU that of the
	// link between them: for software that is configured by them.
	Addr, Other netip.Addr
	MTU         int
	// Mesh is what the infrastructure said when it was ready.
	Mesh json.RawMessage `json:",omitempty"`
	// Dir is a directory of the node's own.
	Dir string
	// Keep has the node keep its identity and its map in Dir for a next start.
	Keep bool
	// Serve has the node listen on Port, and serve there.
	Serve bool
	// Target is the other node's address in the network. If it is set the node
	// connects to its Port: at once if its software is Eager, and else when it is up.
	Target netip.Addr
	// Limit is how long the start may take; 0 is a minute.
	Limit time.Duration
	// Profile is the file for a CPU profile of the node's whole life; empty for
	// none.
	Profile string
}

// Ready is what a node says when it is up.
type Ready struct {
	Addr  netip.Addr    // in the network
	Up    time.Duration // when it was up, by wire.Now
	First time.Duration // when the first byte had come back from the Target
}

// Main is the main function of a node.
func Main(newPeer func(Config) (Peer, error)) {
	wire.Main(func(c Config) (any, wire.Verbs, func(), error) {
		peer, err := newPeer(c)
		if err != nil {
			return nil, nil, nil, err
		}
		if err := wire.StartProfile(c.Profile); err != nil {
			return nil, nil, nil, err
		}
		n := &node{peer: peer}
		ready, err := n.start(c)
		if err != nil {
			peer.Close()
			return nil, nil, nil, err
		}
		return ready, n.verbs(), func() { wire.StopProfile(); peer.Close() }, nil
	})
}

// node is the process of a node.
type node struct {
	peer     Peer
	received counter  // bytes of bulk transfers
	streams  []stream // of load
	held     []net.Conn
}

func (n *node) start(c Config) (*Ready, error) {
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(c.Limit, time.Minute))
	defer cancel()
	ready := new(Ready)
	_, eager := n.peer.(Eager)
	first := make(chan error, 1)
	if eager {
		go func() { first <- n.firstByte(ctx, c.Target, ready) }()
	}
	var err error
	if ready.Addr, err = n.peer.Up(ctx); err != nil {
		return nil, fmt.Errorf("coming up: %w", err)
	}
	ready.Up = wire.Now()
	if c.Serve {
		ln, err := n.peer.Listen(Port)
		if err != nil {
			return nil, fmt.Errorf("listening: %w", err)
		}
		go n.serve(ln)
	}
	if !eager {
		first <- n.firstByte(ctx, c.Target, ready)
	}
	return ready, <-first
}

// firstByte has one byte come back from the target, if there is one.
func (n *node) firstByte(ctx context.Context, target netip.Addr, ready *Ready) error {
	if !target.IsValid() {
		return nil
	}
	conn, err := n.open(ctx, target, echo)
	if err != nil {
		return err
	}
	defer conn.Close()
	ready.First = wire.Now()
	return nil
}

func (n *node) verbs() wire.Verbs {
	return wire.Verbs{
		"sample":   wire.Verb(n.sample),
		"reach":    wire.Verb(n.reach),
		"load":     wire.Verb(n.load),
		"unload":   wire.Verb(n.unload),
		"pingpong": wire.Verb(n.pingpong),
		"dials":    wire.Verb(n.dials),
		"hold":     wire.Verb(n.hold),
		"release":  wire.Verb(n.release),
	}
}

// Sample is where a node stands at one moment.
type Sample struct {
	At       time.Duration // by wire.Now
	Received int64         // bytes of bulk transfers
	Traffic  Traffic
	wire.Usage
}

func (n *node) sample(struct{}) (s Sample, err error) {
	if s.Traffic, err = n.peer.Traffic(); err != nil {
		return s, err
	}
	if s.Usage, err = wire.Use(); err != nil {
		return s, err
	}
	s.Received, s.At = n.received.Load(), wire.Now()
	return s, nil
}
