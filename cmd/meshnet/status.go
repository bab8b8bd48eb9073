package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/key"
)

const statusHelp = `meshnet status tells of a node that runs on this machine: who it is, what is wrong
with it, and which peers it has and by which path it reaches them.

Usage:

  meshnet status [-state DIR] [-json]

Flags:

FLAGS

A path is "direct" with the address on the underlay, or "relay" with the region;
none is known before something has been sent.
`

// nodeStatus is a meshnet.Status for programs.
type nodeStatus struct {
	State   meshnet.State
	AuthURL string `json:",omitempty"`
	Error   string `json:",omitempty"`
	Health  []string
	Domain  string
	Self    shownPeer
	Peers   []shownPeer
}

// shownPeer is a meshnet.PeerStatus for programs.
type shownPeer struct {
	ID            string
	Name          string
	Key           key.NodePublic
	Addresses     []netip.Addr
	User          string   `json:",omitempty"`
	Tags          []string `json:",omitempty"`
	Online        bool
	LastSeen      time.Time `json:",omitzero"`
	KeyExpiry     time.Time `json:",omitzero"`
	Expired       bool      `json:",omitempty"`
	Direct        string    `json:",omitempty"` // address on the underlay
	Relay         string    `json:",omitempty"` // region
	PostQuantum   bool      `json:",omitempty"`
	BytesSent     int64
	BytesReceived int64
	LastHandshake time.Time `json:",omitzero"`
}

func newNodeStatus(s *meshnet.Status) nodeStatus {
	shown := nodeStatus{State: s.State, AuthURL: s.AuthURL, Domain: s.Domain, Self: newShownPeer(s.Self), Health: []string{}, Peers: []shownPeer{}}
	if s.Err != nil {
		shown.Error = s.Err.Error()
	}
	shown.Health = append(shown.Health, s.Health...)
	for _, p := range s.Peers {
		shown.Peers = append(shown.Peers, newShownPeer(p))
	}
	return shown
}

func newShownPeer(p meshnet.PeerStatus) shownPeer {
	shown := shownPeer{
		ID: p.ID, Name: p.Name, Key: p.Key, Addresses: p.Addresses, User: p.User, Tags: p.Tags, Online: p.Online, LastSeen: p.LastSeen,
		KeyExpiry: p.KeyExpiry, Expired: p.Expired, Relay: p.Path.Relay, PostQuantum: p.PostQuantum,
		BytesSent: p.BytesSent, BytesReceived: p.BytesReceived, LastHandshake: p.LastHandshake,
	}
	if p.Path.Direct.IsValid() {
		shown.Direct = p.Path.Direct.String()
	}
	return shown
}

// owner returns who the node acts for.
func (p shownPeer) owner() string {
	if len(p.Tags) > 0 {
		return strings.Join(p.Tags, ",")
	}
	return p.User
}

func (p shownPeer) path() string {
	switch {
	case p.Direct != "":
		return "direct " + p.Direct
	case p.Relay != "":
		return "relay " + p.Relay
	}
	return ""
}

func (p shownPeer) state() string {
	switch {
	case p.Expired:
		return "expired"
	case p.Online:
		return "online"
	case !p.LastSeen.IsZero():
		return "offline since " + showTime(p.LastSeen)
	}
	return "offline"
}

// shortName is how nodes of the mesh write a node's name.
func shortName(name, domain string) string { return strings.TrimSuffix(name, "."+domain) }

// A statusConfig is the flags of meshnet status.
type statusConfig struct{ askConfig }

func (c *statusConfig) run(ctx context.Context, w world, _ []string) error {
	s, err := askNode[none, nodeStatus](ctx, &c.askConfig, "status", none{})
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(w.stdout, s)
	}
	return s.print(w)
}

func (s nodeStatus) print(w world) error {
	fmt.Fprintln(w.stdout, plain(s.sentence()))
	for _, problem := range s.Health {
		fmt.Fprintln(w.stdout, plain("! "+problem))
	}
	if s.State != meshnet.StateRunning {
		return nil
	}
	fmt.Fprintln(w.stdout)
	t := newTable("NAME", "ADDRESS", "OWNER", "STATE", "PATH", "SENT", "RECEIVED")
	for _, p := range s.Peers {
		t.add(shortName(p.Name, s.Domain), firstOf(p.Addresses), p.owner(), p.state(), p.path(), showCount(p.BytesSent), showCount(p.BytesReceived))
	}
	return t.print(w.stdout, "There are no peers that this node may see.")
}

// sentence tells where the node stands.
func (s nodeStatus) sentence() string {
	switch {
	case s.State == meshnet.StateRunning:
		return s.Self.Name + " is up: " + strings.Join(texts(s.Self.Addresses), ", ")
	case s.AuthURL != "":
		return "The node waits for a person to let it in: sign in at " + s.AuthURL
	case s.Error != "":
		return fmt.Sprintf("The node is %s: %s", s.State, s.Error)
	}
	return fmt.Sprintf("The node is %s.", s.State)
}

func firstOf(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return ""
	}
	return addrs[0].String()
}

// showCount is showBytes, and nothing for nothing.
func showCount(n int64) string {
	if n <= 0 {
		return ""
	}
	return showBytes(uint64(n))
}
