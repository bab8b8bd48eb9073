// Tsnet is a node that runs Tailscale's tsnet.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"

	"tailscale.com/envknob"
	"tailscale.com/ipn/store/mem"
	"tailscale.com/tsnet"
	"tailscale.com/types/logger"

	"github.com/meshnet-go/meshnet/bench/internal/node"
	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

func main() { node.Main(newPeer) }

func newPeer(c node.Config) (node.Peer, error) {
	envknob.SetNoLogsNoSupport() // nothing to the world
	var mesh wire.Mesh
	if err := json.Unmarshal(c.Mesh, &mesh); err != nil {
		return nil, fmt.Errorf("where the mesh is: %w", err)
	}
	server := &tsnet.Server{
		Hostname:   c.Hostname,
		ControlURL: mesh.ControlURL,
		AuthKey:    mesh.AuthKey,
		Dir:        c.Dir,
		Logf:       logger.Discard,
		UserLogf:   logger.Discard,
	}
	if !c.Keep {
		server.Store, server.Ephemeral = new(mem.Store), true
	}
	return &peer{server}, nil
}

type peer struct{ *tsnet.Server }

func (p *peer) Up(ctx context.Context) (netip.Addr, error) {
	if _, err := p.Server.Up(ctx); err != nil {
		return netip.Addr{}, err
	}
	ip4, _ := p.TailscaleIPs()
	return ip4, nil
}

func (p *peer) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return p.Server.Dial(ctx, "tcp", addr)
}

func (p *peer) Listen(port uint16) (net.Listener, error) {
	return p.Server.Listen("tcp", fmt.Sprint(":", port))
}
