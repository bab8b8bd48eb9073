// Package derpmap describes where the relays are: a Map of Regions, each with
// one or more Nodes. The coordinator sends it to every node as JSON, in the
// form of Tailscale's tailcfg.DERPMap.
package derpmap

import (
	"maps"
	"slices"
)

// Map is the set of relay regions of a mesh.
type Map struct {
	// Regions by their ID, which is positive and fits 16 bits. A nil value is
	// a region that was withdrawn.
	Regions map[int]*Region `json:"Regions"`
	// OmitDefaultRegions is true when these are all the relays there are. A
	// program that knows relays of its own would otherwise add them; meshnet
	// knows none.
	OmitDefaultRegions bool `json:"omitDefaultRegions,omitempty"`
	// HomeParams say how nodes choose their home. Nil says nothing about it:
	// for a node that has had some from its coordinator these remain in force.
	HomeParams *HomeParams `json:"HomeParams,omitempty"`
}

// HomeParams are a coordinator's wishes for how nodes choose their home region,
// which is the one with the lowest latency.
type HomeParams struct {
	// RegionScore has factors, by region ID, with which nodes multiply
	// latencies before they compare them: one below 1 draws nodes to a region,
	// one above 1 keeps them off it, and what is not positive counts as 1, as
	// do regions that are not in it. Empty, it takes earlier scores back; nil
	// leaves them as they are.
	RegionScore map[int]float64 `json:"RegionScore,omitzero"`
}

// IDs returns the IDs of the regions that have at least one relay, in order.
func (m *Map) IDs() []int {
	if m == nil {
		return nil
	}
	ids := slices.Sorted(maps.Keys(m.Regions))
	return slices.DeleteFunc(ids, func(id int) bool { return !m.Regions[id].hasRelay() })
}

// Region is a group of relays in one place; its nodes forward to each other.
// Every mesh node has a home region where others can reach it.
type Region struct {
	RegionID   int    `json:"RegionID"`
	RegionCode string `json:"RegionCode"` // short, such as "fra"
	RegionName string `json:"RegionName"` // for people, such as "Frankfurt"
	// Avoid keeps the region from becoming a home while there is any other.
	// NoMeasureNoHome does in any case, and nodes do not ask how far away it
	// is. Both are still used to reach peers who live there.
	Avoid           bool    `json:"Avoid,omitempty"`
	NoMeasureNoHome bool    `json:"NoMeasureNoHome,omitempty"`
	Nodes           []*Node `json:"Nodes"` // in order of preference
}

func (r *Region) hasRelay() bool {
	return r != nil && slices.ContainsFunc(r.Nodes, func(n *Node) bool { return n != nil && !n.STUNOnly })
}

// CanBeHome reports whether a node may choose the region as its home. One that
// is to be avoided it chooses only if there is no other.
func (r *Region) CanBeHome() bool { return r.hasRelay() && !r.NoMeasureNoHome }

// Node is one relay server.
type Node struct {
	Name     string `json:"Name"` // unique in the map, such as "1a"
	RegionID int    `json:"RegionID"`
	HostName string `json:"HostName"` // DNS name, or an address
	// CertName is what the certificate must show when that is not HostName: a
	// DNS name, or "sha256-raw:" and the hex SHA-256 of the DER certificate,
	// which pins a self-signed one.
	CertName string `json:"CertName,omitempty"`
	// IPv4 and IPv6 replace the look-up of HostName; "none" means that the
	// relay has no such address.
	IPv4     string `json:"IPv4,omitempty"`
	IPv6     string `json:"IPv6,omitempty"`
	STUNPort int    `json:"STUNPort,omitempty"` // 0 is 3478, -1 is none
	STUNOnly bool   `json:"STUNOnly,omitempty"` // not a relay
	DERPPort int    `json:"DERPPort,omitempty"` // 0 is 443
	// InsecureForTests turns off the check of the relay's certificate.
	InsecureForTests bool   `json:"InsecureForTests,omitempty"`
	STUNTestIP       string `json:"STUNTestIP,omitempty"` // address of the STUN server, when it is another than the relay's
	// CanPort80 says that the relay answers HTTP on port 80, too, with which
	// programs look for captive portals; meshnet does not.
	CanPort80 bool `json:"CanPort80,omitempty"`
}
