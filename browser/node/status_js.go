package main

import (
	"net/netip"

	"github.com/meshnet-go/meshnet"
)

// What JavaScript gets: see Status, Peer and Path in meshnet.d.ts.

func describe(s *meshnet.Status) map[string]any {
	peers := make([]any, len(s.Peers))
	for i := range s.Peers {
		peers[i] = describePeer(&s.Peers[i])
	}
	status := map[string]any{
		"state":    string(s.State),
		"loginURL": s.AuthURL,
		"error":    "",
		"health":   list(s.Health),
		"domain":   s.Domain,
		"self":     describePeer(&s.Self),
		"peers":    peers,
	}
	if s.Err != nil {
		status["error"] = s.Err.Error()
	}
	return status
}

func describePeer(p *meshnet.PeerStatus) map[string]any {
	return map[string]any{
		"id":            p.ID,
		"name":          p.Name,
		"addresses":     addresses(p.Addresses),
		"user":          p.User,
		"tags":          list(p.Tags),
		"online":        p.Online,
		"path":          describePath(p.Path),
		"bytesSent":     p.BytesSent,
		"bytesReceived": p.BytesReceived,
	}
}

func describePath(p meshnet.Path) map[string]any {
	path := map[string]any{"direct": "", "relay": p.Relay}
	if p.Direct.IsValid() {
		path["direct"] = p.Direct.String()
	}
	return path
}

func addresses(addrs []netip.Addr) []any {
	all := make([]any, len(addrs))
	for i, addr := range addrs {
		all[i] = addr.String()
	}
	return all
}

func list(texts []string) []any {
	all := make([]any, len(texts))
	for i, text := range texts {
		all[i] = text
	}
	return all
}
