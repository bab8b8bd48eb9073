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
	// OmitDefaultRegions is true when these are all the relays there are.
	OmitDefaultRegions bool `json:"omitDefaultRegions,omitempty"`
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
	// Avoid and NoMeasureNoHome keep the region from becoming a home; it is
	// still used to reach peers who live there.
	Avoid           bool    `json:"Avoid,omitempty"`
	NoMeasureNoHome bool    `json:"NoMeasureNoHome,omitempty"`
	Nodes           []*Node `json:"Nodes"` // in order of preference
}

func (r *Region) hasRelay() bool {
	return r != nil && slices.ContainsFunc(r.Nodes, func(n *Node) bool { return n != nil && !n.STUNOnly })
}

// CanBeHome reports whether a node may choose the region as its home.
func (r *Region) CanBeHome() bool { return r.hasRelay() && !r.Avoid && !r.NoMeasureNoHome }

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
	STUNTestIP       string `json:"STUNTestIP,omitempty"`
	CanPort80        bool   `json:"CanPort80,omitempty"`
}
