package derp

import (
	"context"
	"errors"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

const (
	meshRetry    = 5 * time.Second // before a link to another relay is tried again
	maxLinkPeers = 1 << 20         // clients of another relay that we know
)

// link is our connection to another relay of the region, by which we hear who
// is connected there, and forward packets. Its other direction is a session of
// that relay here.
type link struct {
	destination
	client *Client
	peers  map[key.NodePublic]struct{} // who is there; owned by who receives
}

// linkConn lets a link's writer write through its client.
type linkConn struct{ *Client }

func (c linkConn) Write(frames []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.w.Write(frames); err != nil {
		return 0, c.wrote(err)
	}
	return len(frames), c.wrote(c.w.Flush())
}

func (c linkConn) CloseWrite() error { return nil }

// Mesh keeps s connected to another relay of the region, and forwards packets
// for its clients there, until ctx ends, or the Server is closed, in which case
// it returns nil. The other relay must do the same towards this one; either may
// be Tailscale's derper. Both need the same [ServerConfig].MeshKey.
//
// cfg says how to reach the other relay, the one in cfg.Region; its Key and
// MeshKey are set by Mesh. So that all relays can have the same list of relays,
// Mesh returns nil when the other relay is s itself.
func (s *Server) Mesh(ctx context.Context, cfg DialConfig) error {
	if s.meshKey.IsZero() {
		return errors.New("derp: to mesh with others, a relay needs a mesh key")
	}
	if cfg.Region == nil || len(relays(cfg.Region)) != 1 {
		return errors.New("derp: Mesh is for one relay; call it for each")
	}
	cfg.Key, cfg.MeshKey = s.key, s.meshKey
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()

	log := s.log.With("relay", relays(cfg.Region)[0].Name)
	for {
		client, err := Dial(ctx, cfg)
		if err == nil && client.ServerKey() == s.public {
			return client.Close()
		}
		if err == nil {
			log.Info("derp: connected to a relay of the region")
			err = s.carry(ctx, client)
		}
		if s.ctx.Err() != nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		log.Info("derp: not connected to a relay of the region", "err", err)
		select {
		case <-time.After(meshRetry):
		case <-ctx.Done():
		}
	}
}

// carry works for a link until it breaks or ctx ends.
func (s *Server) carry(ctx context.Context, client *Client) error {
	defer client.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	l := &link{client: client, peers: make(map[key.NodePublic]struct{})}
	l.remote = true
	l.out = newOutbox(&s.messages, meshPacketBytes, meshDiscoBytes)
	l.conn = linkConn{client}
	s.registry.addLink(l)
	defer s.unlink(l)
	if err := client.WatchConns(); err != nil {
		return err
	}
	for {
		f, err := client.Recv()
		if err != nil {
			return err
		}
		switch f.Type {
		case FramePeerPresent:
			s.isAt(f.Peer, l)
		case FramePeerGone:
			// PeerGoneNotHere answers what was forwarded in vain, some time
			// ago: by now the peer may be there.
			if f.Reason == PeerGoneDisconnected {
				s.isNotAt(f.Peer, l)
			}
		}
	}
}

// isAt notes that a client is connected to another relay.
func (s *Server) isAt(k key.NodePublic, l *link) {
	if k == s.public || len(l.peers) >= maxLinkPeers {
		return
	}
	l.peers[k] = struct{}{}
	s.registry.at(k, l)
}

// isNotAt is the opposite.
func (s *Server) isNotAt(k key.NodePublic, l *link) {
	delete(l.peers, k)
	if s.registry.notAt(k, l) {
		s.tellGoneToAll(k)
	}
}

// unlink ends a link.
func (s *Server) unlink(l *link) {
	l.client.Close() // ends a write under way
	gone := s.registry.removeLink(l)
	l.out.close()
	s.past.keep(l.traffic())
	for _, k := range gone {
		s.tellGoneToAll(k)
	}
}
