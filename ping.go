package meshnet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/ping"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// PingKind is who answers a ping, and so how much of the way it proves.
type PingKind string

// The kinds of pings.
const (
	// PingDisco goes to the node beside the tunnel: it shows whether, and by
	// which path, the node is reached at all.
	PingDisco PingKind = "disco"
	// PingTSMP goes through the tunnel and is answered by the node itself: it
	// shows that WireGuard works. The packet filter of the node does not matter.
	PingTSMP PingKind = "tsmp"
	// PingICMP goes through the tunnel and is answered by the host of the node,
	// if the mesh's policy allows it.
	PingICMP PingKind = "icmp"
)

// PingResult is the answer to a ping.
type PingResult struct {
	Name    string        // of the node, in full, without a trailing dot
	Latency time.Duration // from the ping to its answer
	// Path is the way that the answer to a disco ping came. For pings through
	// the tunnel it is the way that packets to the node took when the answer was
	// there.
	Path Path
}

const (
	pingEvery  = time.Second
	pingExpiry = 5 * time.Second
)

// Ping asks the node with an address whether it is there, once a second until
// it answers or ctx ends; without a deadline it waits for ever. A path to the
// node is looked for meanwhile, so that later pings may go another way.
//
// It waits for this node to be up. It is an error at once when no node of the
// mesh has the address, when that is this node, and when the node cannot be
// reached by its nature.
func (s *Server) Ping(ctx context.Context, ip netip.Addr, kind PingKind) (*PingResult, error) {
	fail := func(err error) (*PingResult, error) {
		return nil, fmt.Errorf("meshnet: %s ping of %v: %w", kind, ip, err)
	}
	n, v, err := s.member(ctx)
	if err != nil {
		return fail(err)
	}
	ip = ip.Unmap()
	if err := (routes{}).reachable(v.netMap, ip, time.Now()); err != nil { // routes lead to no node
		return fail(err)
	}
	p, _ := v.netMap.ByAddr(ip)
	if p == v.netMap.Self {
		return fail(errors.New("that is this node"))
	}
	once, err := n.pinger(v, p, ip, kind)
	if err != nil {
		return fail(err)
	}
	result, err := repeat(ctx, once)
	if err != nil {
		return fail(err)
	}
	result.Name = strings.TrimSuffix(p.Name, ".")
	return result, nil
}

// A pingFunc sends one ping and waits for its answer.
type pingFunc func(context.Context) (*PingResult, error)

func (n *node) pinger(v view, p *tailcfg.Node, ip netip.Addr, kind PingKind) (pingFunc, error) {
	src, ip6 := v.ips()
	if ip.Is6() {
		src = ip6
	}
	switch kind {
	case PingDisco:
		return func(ctx context.Context) (*PingResult, error) { return n.pingDisco(ctx, v.netMap, p) }, nil
	case PingTSMP, PingICMP:
	default:
		return nil, errors.New("no such kind of ping")
	}
	if !src.IsValid() {
		return nil, errors.New("this node has no address of that IP version")
	}
	how := map[PingKind]ping.Kind{PingTSMP: ping.TSMP, PingICMP: ping.ICMP}[kind]
	return func(ctx context.Context) (*PingResult, error) {
		latency, err := n.ping.Ask(ctx, how, src, ip)
		if err != nil {
			return nil, err
		}
		return &PingResult{Latency: latency, Path: n.path(v.netMap, p)}, nil
	}, nil
}

func (n *node) pingDisco(ctx context.Context, m *netmap.Map, p *tailcfg.Node) (*PingResult, error) {
	pong, err := n.magic.Ping(ctx, p.Key)
	switch {
	case err != nil:
		return nil, err
	case pong.Relay != 0:
		return &PingResult{Latency: pong.Latency, Path: relayPath(m, pong.Relay)}, nil
	}
	path := Path{Direct: pong.Direct, MTU: overlayMTU}
	if now := n.path(m, p); now.Direct == path.Direct {
		path.MTU = now.MTU
	}
	return &PingResult{Latency: pong.Latency, Path: path}, nil
}

// repeat pings until there is an answer, be it to an earlier ping than the
// last, or an error other than that there is none.
func repeat(ctx context.Context, once pingFunc) (*PingResult, error) {
	type outcome struct {
		result *PingResult
		err    error
	}
	outcomes := make(chan outcome)
	ctx, cancel := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	one := func() {
		ctx, cancel := context.WithTimeout(ctx, pingExpiry)
		defer cancel()
		result, err := once(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		select {
		case outcomes <- outcome{result, err}:
		case <-ctx.Done():
		}
	}
	again := time.NewTicker(pingEvery)
	defer again.Stop()
	for {
		waiting.Go(one)
		select {
		case <-again.C:
		case o := <-outcomes:
			return o.result, o.err
		case <-ctx.Done():
			return nil, fmt.Errorf("no answer: %w", ctx.Err())
		}
	}
}
