package meshnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

const (
	savedMapVersion = 1

	// maxSavedMap is how long the text of a map may be. Larger meshes, of some
	// 20,000 nodes, do without.
	maxSavedMap = 16 << 20

	// maxMapAge is how long after the coordinator was last heard its map may be
	// used by a node that starts. Until then a peer that the coordinator has cut
	// off in between is reached, and reaches us, for as long as the coordinator
	// does not answer. A coordinator that fails on a Friday evening shall do no
	// harm before somebody looks on Monday.
	maxMapAge = 72 * time.Hour

	// clockSlack is how far in the future a map may have come: clocks are set.
	clockSlack = 10 * time.Minute
)

// A savedMap is the last network map of a node, as it is kept in the Store
// between two runs.
type savedMap struct {
	Version    int
	ControlURL string            // of the coordinator whose word it is,
	ControlKey key.MachinePublic // and its key
	NodeKey    key.NodePublic    // whom it was told
	Heard      time.Time         // when the coordinator last stood by it, by our clock
	Map        *tailcfg.MapResponse
}

// text returns what is stored, or an error when that is too long.
func (s *savedMap) text() ([]byte, error) {
	text, err := json.Marshal(s)
	if err == nil && len(text) > maxSavedMap {
		err = fmt.Errorf("its %d bytes are more than the %d that are kept", len(text), maxSavedMap)
	}
	return text, err
}

// parseSavedMap reads what text wrote, in this version of the program or
// another.
func parseSavedMap(text []byte) (*savedMap, error) {
	if len(text) > maxSavedMap {
		return nil, fmt.Errorf("it has %d bytes", len(text))
	}
	s := new(savedMap)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	if s.Version != savedMapVersion {
		return nil, fmt.Errorf("it is of version %d", s.Version)
	}
	if s.Map == nil {
		return nil, errors.New("it is empty")
	}
	return s, nil
}

// good returns the map if a node may go by it, without having heard the
// coordinator.
func (s *savedMap) good(cfg *config, id identity, now time.Time) (*netmap.Map, error) {
	switch {
	case s.ControlURL != cfg.controlURL.String(), !cfg.controlKey.IsZero() && s.ControlKey != cfg.controlKey:
		return nil, errors.New("it is another coordinator's")
	case s.NodeKey != id.node.Public() || !id.oldNode.IsZero():
		return nil, errors.New("it was for another key of this node")
	case now.Sub(s.Heard) >= maxMapAge || s.Heard.Sub(now) > clockSlack:
		return nil, fmt.Errorf("it is of %v", s.Heard)
	}
	var none *netmap.Map
	m, err := none.Apply(s.Map, s.Heard)
	switch {
	case err != nil:
		return nil, err
	case m == nil || m.Self.Key != s.NodeKey: // from a keepalive comes none
		return nil, errors.New("it is not about this node")
	case m.Expired(m.Self, now):
		return nil, errors.New("the node's key has expired since")
	case !m.Self.MachineAuthorized:
		return nil, errors.New("the node was not approved then")
	case m.Locked() && !cfg.allowUnsigned:
		return nil, ErrTailnetLock
	}
	return m, nil
}

// loadMap returns the map of the node's last run, and when the coordinator last
// stood by it. Without a map that may be used it returns nil.
func (n *node) loadMap(now time.Time) (*netmap.Map, time.Time) {
	text, err := n.cfg.store.Load(storedMap)
	if err == nil && len(text) == 0 || errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}
	}
	var saved *savedMap
	if err == nil {
		saved, err = parseSavedMap(text)
	}
	var m *netmap.Map
	if err == nil {
		m, err = saved.good(&n.cfg, n.id, now)
	}
	if err != nil {
		n.cfg.log.Info("the stored network map is not used", "why", err)
		return nil, time.Time{}
	}
	return m, saved.Heard
}
