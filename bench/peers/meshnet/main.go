// Meshnet is a node that runs meshnet.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/bench/internal/node"
	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

func main() { node.Main(newPeer) }

func newPeer(c node.Config) (node.Peer, error) {
	var mesh wire.Mesh
	if err := json.Unmarshal(c.Mesh, &mesh); err != nil {
		return nil, fmt.Errorf("where the mesh is: %w", err)
	}
	server := &meshnet.Server{
		Hostname:   c.Hostname,
		ControlURL: mesh.ControlURL,
		AuthKey:    mesh.AuthKey,
		Ephemeral:  !c.Keep,
	}
	if c.Keep {
		server.Dir = c.Dir
	}
	return &peer{Server: server}, nil
}

type peer struct {
	*meshnet.Server
	counts
}

func (p *peer) Up(ctx context.Context) (netip.Addr, error) {
	if _, err := p.Server.Up(ctx); err != nil {
		return netip.Addr{}, err
	}
	ip4, _ := p.IPs()
	return ip4, nil
}

func (p *peer) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return p.Server.Dial(ctx, "tcp", addr)
}

// DialWaits says that Dial may come before Up: node.Eager.
func (p *peer) DialWaits() {}

func (p *peer) Listen(port uint16) (net.Listener, error) {
	return p.Server.Listen("tcp", fmt.Sprint(":", port))
}

func (p *peer) Traffic() (node.Traffic, error) { return p.count(p.Status().Peers), nil }

// counts are bytes by path. A node counts the bytes of each peer, and knows the
// path of now: what has come since the last look is the path's of both looks, or
// counts for both if it has changed.
type counts struct {
	mu      sync.Mutex
	traffic node.Traffic
	last    map[string]look
}

type look struct {
	bytes   uint64
	relayed bool
}

func (c *counts) count(peers []meshnet.PeerStatus) node.Traffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = make(map[string]look)
	}
	for _, p := range peers {
		before := c.last[p.ID]
		now := look{uint64(p.BytesSent + p.BytesReceived), !p.Path.Direct.IsValid()}
		c.last[p.ID] = now
		more := now.bytes - before.bytes
		if before.relayed || now.relayed {
			c.traffic.Relayed += more
		}
		if !before.relayed || !now.relayed {
			c.traffic.Direct += more
		}
	}
	return c.traffic
}
