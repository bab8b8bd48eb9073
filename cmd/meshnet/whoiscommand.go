package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshnet-go/meshnet"
)

const whoisHelp = `meshnet whois tells who has an address of the mesh: the node, its owner, and what
the mesh's policy lets it do here.

Usage:

  meshnet whois [-state DIR] [-json] NODE

NODE is a name, an address, or an address and port.

Flags:

FLAGS
`

// A whoisConfig is the flags of meshnet whois.
type whoisConfig struct{ askConfig }

// shownWhoIs is a meshnet.WhoIs for programs.
type shownWhoIs struct {
	Node         shownPeer
	User         meshnet.User                 `json:",omitzero"`
	Capabilities map[string][]json.RawMessage `json:",omitempty"`
}

func findWho(ctx context.Context, srv *meshnet.Server, who string) (shownWhoIs, error) {
	if _, err := netip.ParseAddrPort(who); err != nil {
		ip, err := findAddr(srv.Status(), who)
		if err != nil {
			return shownWhoIs{}, err
		}
		who = ip.String()
	}
	found, err := srv.WhoIs(ctx, who)
	if err != nil {
		return shownWhoIs{}, err
	}
	return shownWhoIs{newShownPeer(found.Node), found.User, found.Capabilities}, nil
}

func (c *whoisConfig) run(ctx context.Context, w world, args []string) error {
	who, err := askNode[string, shownWhoIs](ctx, &c.askConfig, "whois", args[0])
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(w.stdout, who)
	}
	return who.print(w)
}

func (s shownWhoIs) print(w world) error {
	user := s.User.LoginName
	if s.User.DisplayName != "" && s.User.DisplayName != user {
		user = fmt.Sprintf("%s (%s)", user, s.User.DisplayName)
	}
	t := newTable("Node", s.Node.Name)
	t.add("Addresses", strings.Join(texts(s.Node.Addresses), ", "))
	t.add("User", user)
	t.add("Tags", strings.Join(s.Node.Tags, ", "))
	t.add("State", s.Node.state())
	t.add("Path", s.Node.path())
	t.add("Key", s.Node.Key.String())
	var names []string
	for name := range s.Capabilities {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var values []string
		for _, v := range s.Capabilities[name] {
			values = append(values, string(v))
		}
		t.add("May use", name+" "+strings.Join(values, " "))
	}
	return t.print(w.stdout, "")
}
