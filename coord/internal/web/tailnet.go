package web

import (
	"fmt"
	"html/template"
	"time"
)

// Tailnet is what the page of all nodes shows.
type Tailnet struct {
	Domain string
	Policy string // which is in force, in a sentence
	Online int
	Total  int
	Search string
	Nodes  []Node // that match Search, without their Peers and Rules
	More   int    // nodes that match, and are not shown
	Logins []Login
}

// Node is what the pages show of one.
type Node struct {
	ID        int64
	Name      string // short
	Domain    string
	Hostname  string
	OS        string
	Version   string
	User      string
	Tags      []string
	Addrs     []string
	Online    bool
	LastSeen  time.Time
	Created   time.Time
	KeyExpiry time.Time
	Expired   bool
	Ephemeral bool
	Home      string // home region
	Endpoints []string
	Latency   []Latency // to relays, as the node reports it
	Routes    []Route
	Peers     []PathTo // whom it sees, and who sees it
	MorePeers int      // not shown
	Rules     []Rule   // who may reach it, and where
}

// Peer is a node that another one sees.
type Peer struct {
	ID     int64
	Name   string // short
	Online bool
}

// PathTo is a peer, and how a node and it reach each other.
type PathTo struct {
	Peer
	Path *Path // nil: there is nothing to be known
}

// Latency is that of a relay.
type Latency struct {
	Region string
	Value  time.Duration
}

// Route is one that a node advertises or that is approved.
type Route struct {
	Prefix                        string
	Advertised, Approved, Primary bool
}

// Rule is one of a node's packet filter.
type Rule struct {
	From, To, Protocols string
}

// Login is a node that waits to be admitted.
type Login struct {
	ID       string
	Hostname string
	OS       string
	Machine  string
	Tags     []string
	Created  time.Time
	Users    []string // logins, of whom one will have the node
}

// functions are those of the templates.
var functions = template.FuncMap{
	"ago":    ago,
	"millis": func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) },
	"stamp":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
}

// ago says how long before now t was, as people say it.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	count := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit + " ago"
		}
		return fmt.Sprintf("%d %ss ago", n, unit)
	}
	switch {
	case t.IsZero():
		return "never"
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour")
	default:
		return count(int(d/(24*time.Hour)), "day")
	}
}
