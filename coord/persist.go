package coord

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// savedState is what a store holds, as JSON.
type savedState struct {
	Format   int    // 1
	Key      string // the coordinator's private key
	LastID   tailcfg.NodeID
	NextAddr uint32
	Nodes    []*node
	AuthKeys []*authKey
}

const savedFormat = 1

// load reads the store, or makes a key when it is empty.
func (s *Server) load(now time.Time) error {
	data, err := s.store.Load()
	if err != nil {
		return fmt.Errorf("coord: load the store: %w", err)
	}
	if data == nil {
		s.key = key.NewMachine()
		s.state.revision++ // worth saving
		return s.save()
	}
	var saved savedState
	if err := json.Unmarshal(data, &saved); err != nil {
		return fmt.Errorf("coord: the store is damaged: %w", err)
	}
	if saved.Format != savedFormat {
		return fmt.Errorf("coord: the store has format %d, this version of meshnet knows %d", saved.Format, savedFormat)
	}
	if s.key, err = key.ParseMachinePrivate(saved.Key); err != nil {
		return fmt.Errorf("coord: the store is damaged: %w", err)
	}
	if err := s.state.restore(now, &saved); err != nil {
		return fmt.Errorf("coord: the store is damaged: %w", err)
	}
	s.saved = s.state.revision
	return nil
}

// save writes the state to the store if the store has an older one.
func (s *Server) save() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	revision := s.state.revision
	if revision == s.saved {
		s.mu.Unlock()
		return nil
	}
	saved := s.state.saved()
	s.mu.Unlock()
	saved.Key = s.key.Secret()
	data, err := json.Marshal(saved)
	if err != nil {
		return fmt.Errorf("coord: %w", err)
	}
	if err := s.store.Save(data); err != nil {
		return fmt.Errorf("coord: save: %w", err)
	}
	s.saved = revision
	return nil
}

// saved returns what of the state outlives the server.
func (s *state) saved() *savedState {
	saved := &savedState{Format: savedFormat, LastID: s.lastID, NextAddr: s.alloc.next, Nodes: s.sorted()}
	for _, id := range slices.Sorted(maps.Keys(s.authKeys)) {
		k := *s.authKeys[id] // keys change in place
		saved.AuthKeys = append(saved.AuthKeys, &k)
	}
	return saved
}

// restore takes over what was saved. All nodes are away at first: those who
// were online still count so for the usual while.
func (s *state) restore(now time.Time, saved *savedState) error {
	s.lastID, s.alloc.next = saved.LastID, saved.NextAddr
	for _, k := range saved.AuthKeys {
		if k == nil {
			return errors.New("an auth key is missing")
		}
		s.authKeys[k.ID] = k
	}
	names, addrs := make(map[string]bool), make(map[netip.Addr]bool)
	for _, n := range saved.Nodes {
		switch {
		case n == nil || n.ID <= 0 || n.ID > s.lastID || n.Key.IsZero() || n.Machine.IsZero() || !n.IPv4.Is4() || !n.IPv6.Is6():
			return errors.New("a node is incomplete")
		case s.nodes[n.ID] != nil || s.byKey[n.Key] != 0 || names[n.Name] || addrs[n.IPv4] || addrs[n.IPv6]:
			return fmt.Errorf("node %d shares its ID, key, name or addresses with another", n.ID)
		}
		names[n.Name], addrs[n.IPv4], addrs[n.IPv6] = true, true, true
		n.Expired = n.expiredAt(now)
		s.put(n)
		s.away[n.ID] = now
	}
	return nil
}
