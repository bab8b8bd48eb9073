package coord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/coord/internal/web"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// Bounds of what a page shows.
const (
	maxShownNodes = 200
	maxShownPeers = 200
)

// newPages returns the pages for administrators.
func (s *Server) newPages(a Authenticator) http.Handler {
	c := web.Config{Coordinator: pages{s}, Log: s.log}
	if a != nil {
		c.Authenticator = a
	}
	if u, err := url.Parse(s.url); err == nil {
		c.Base, c.Secure = strings.TrimSuffix(u.Path, "/"), u.Scheme == "https"
	}
	return web.New(c)
}

// pages is the server as its pages know it.
type pages struct{ *Server }

func (p pages) Secrets() web.Secrets { return p.current.Load().admin.secrets() }

func (p pages) Tailnet(ctx context.Context, search string) (*web.Tailnet, error) {
	logins, err := p.Logins(ctx)
	if err != nil {
		return nil, err
	}
	now, status := p.current.Load(), p.Status()
	t := &web.Tailnet{Domain: p.domain, Policy: status.Policy, Online: status.Online, Total: status.Nodes, Search: search}
	for _, l := range logins {
		t.Logins = append(t.Logins, showLogin(l))
	}
	for _, n := range now.nodes {
		switch shown := now.show(n); {
		case !matches(&shown, search):
		case len(t.Nodes) == maxShownNodes:
			t.More++
		default:
			t.Nodes = append(t.Nodes, shown)
		}
	}
	return t, nil
}

// matches reports whether a node has to do with what is searched.
func matches(n *web.Node, search string) bool {
	search = strings.ToLower(strings.TrimSpace(search))
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), search) }
	return has(n.Name) || has(n.Hostname) || has(n.User) || slices.ContainsFunc(n.Tags, has) || slices.ContainsFunc(n.Addrs, has)
}

func (p pages) Node(id int64) (*web.Node, error) {
	now := p.current.Load()
	v, ok := now.sightOf(tailcfg.NodeID(id))
	if !ok {
		return nil, fmt.Errorf("node %d: %w", id, web.ErrNotFound)
	}
	n := now.show(v.self)
	for peer := range v.view.Peers() {
		is := now.find(peer)
		switch {
		case !v.sees(is):
		case len(n.Peers) == maxShownPeers:
			n.MorePeers++
		default:
			n.Peers = append(n.Peers, web.PathTo{Peer: showPeer(is)})
		}
	}
	p.addPaths(&n)
	names := now.names()
	for _, r := range v.view.Rules() {
		n.Rules = append(n.Rules, names.showRule(r))
	}
	return &n, nil
}

// addPaths tells of each peer how the node and it reach each other, as far as
// that is known.
func (p pages) addPaths(n *web.Node) {
	for _, path := range p.pathsNow(n.ID) {
		shown := p.showPath(path)
		other := shown.From
		if other.ID == n.ID {
			other = shown.To
		}
		if i := slices.IndexFunc(n.Peers, func(p web.PathTo) bool { return p.ID == other.ID }); i >= 0 {
			n.Peers[i].Path = &shown
		}
	}
}

func (p pages) Paths() *web.Paths {
	shown := &web.Paths{Domain: p.domain}
	for _, path := range p.pathsNow() {
		shown.Pairs = append(shown.Pairs, p.showPath(path))
	}
	shown.More = len(shown.Pairs) == maxSurveyed
	return shown
}

// showPath returns what pages show of a path.
func (p pages) showPath(path Path) web.Path {
	now := p.current.Load()
	shown := web.Path{State: string(path.State), Latency: path.Latency, Measured: path.Measured, Err: path.Err}
	for id, peer := range map[int64]*web.Peer{path.From: &shown.From, path.To: &shown.To} {
		if n := now.find(tailcfg.NodeID(id)); n != nil {
			*peer = showPeer(n)
		}
	}
	switch {
	case path.Direct.IsValid():
		shown.Via = path.Direct.String()
	case path.PeerRelay != "":
		shown.Via = path.PeerRelay
	case path.Relay != 0:
		shown.Via = now.regionName(path.Relay)
	}
	return shown
}

func showPeer(n *node) web.Peer { return web.Peer{ID: int64(n.ID), Name: n.Name, Online: n.online()} }

func (p pages) Login(ctx context.Context, id string) (*web.Login, error) {
	return decide(ctx, p.Server, func(now time.Time, st *state) (*web.Login, error) {
		l, err := st.pending(now, id)
		if err != nil || l.Approved {
			return nil, web.ErrNotFound
		}
		shown := showLogin(l.describe())
		for _, u := range st.listUsers() {
			shown.Users = append(shown.Users, u.Login)
		}
		return &shown, nil
	})
}

func (p pages) Approve(ctx context.Context, id, user string) error {
	return notFound(p.Server.Approve(ctx, id, ApproveOptions{User: user}))
}

func (p pages) Reject(ctx context.Context, id string) error {
	return notFound(p.Server.Reject(ctx, id))
}

// notFound makes an error one that pages understand.
func notFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: %w", web.ErrNotFound, err)
	}
	return err
}

func showLogin(l Login) web.Login {
	return web.Login{ID: l.ID, Hostname: l.Hostname, OS: l.OS, Machine: l.Machine.String(), Tags: l.Tags, Created: l.Created}
}

// show returns what pages show of a node, but for its peers.
func (s *snapshot) show(n *node) web.Node {
	d := n.describe(s.terms)
	shown := web.Node{
		ID:        d.ID,
		Name:      n.Name,
		Domain:    s.domain,
		Hostname:  d.Hostname,
		OS:        d.OS,
		Version:   n.Hostinfo.IPNVersion,
		User:      d.User,
		Tags:      d.Tags,
		Addrs:     []string{n.IPv4.String(), n.IPv6.String()},
		Online:    d.Online,
		LastSeen:  d.LastSeen,
		Created:   d.Created,
		KeyExpiry: d.KeyExpiry,
		Expired:   d.Expired,
		Ephemeral: d.Ephemeral,
	}
	if n.HomeDERP != 0 {
		shown.Home = s.regionName(n.HomeDERP)
	}
	for _, ep := range n.Endpoints {
		shown.Endpoints = append(shown.Endpoints, ep.String())
	}
	for _, r := range n.listRoutes(s.domain) {
		shown.Routes = append(shown.Routes, web.Route{Prefix: r.Prefix.String(), Advertised: r.Advertised, Approved: r.Approved, Primary: r.Primary})
	}
	for region, latency := range d.Latency {
		shown.Latency = append(shown.Latency, web.Latency{Region: s.regionName(region), Value: latency})
	}
	slices.SortFunc(shown.Latency, func(a, b web.Latency) int { return cmp.Compare(a.Value, b.Value) })
	return shown
}

func (t *terms) regionName(id int) string {
	if r := t.derp.Regions[id]; r != nil {
		return cmp.Or(r.RegionName, r.RegionCode, strconv.Itoa(id))
	}
	return strconv.Itoa(id)
}

// names are those of nodes, by their addresses.
type names map[netip.Addr]string

func (s *snapshot) names() names {
	all := make(names, 2*len(s.nodes))
	for _, n := range s.nodes {
		all[n.IPv4], all[n.IPv6] = n.Name, n.Name
	}
	return all
}

// showRule writes a rule with the names of nodes in place of their addresses.
func (s names) showRule(r tailcfg.FilterRule) web.Rule {
	var from, to []string
	for _, src := range r.SrcIPs {
		from = append(from, s.nameOf(src))
	}
	for _, dst := range r.DstPorts {
		to = append(to, s.nameOf(dst.IP)+showPorts(dst.Ports))
	}
	for _, grant := range r.CapGrant {
		for name := range grant.CapMap {
			to = append(to, "capability "+name)
		}
	}
	return web.Rule{From: joinOnce(from), To: joinOnce(to), Protocols: showProtocols(r.IPProto)}
}

// nameOf returns the name of the node with the address, or the text as it is.
func (s names) nameOf(text string) string {
	if text == "*" {
		return "all"
	}
	a, err := netip.ParseAddr(text)
	if p, errP := netip.ParsePrefix(text); errP == nil && p.IsSingleIP() {
		a, err = p.Addr(), nil
	}
	if err != nil {
		return text
	}
	return cmp.Or(s[a], text)
}

func showPorts(p tailcfg.PortRange) string {
	switch {
	case p.First == 0 && p.Last == 65535:
		return ""
	case p.First == p.Last:
		return fmt.Sprintf(":%d", p.First)
	default:
		return fmt.Sprintf(":%d-%d", p.First, p.Last)
	}
}

func showProtocols(numbers []int) string {
	if len(numbers) == 0 {
		return "TCP, UDP, ICMP"
	}
	names := map[int]string{1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
	var shown []string
	for _, n := range numbers {
		shown = append(shown, cmp.Or(names[n], strconv.Itoa(n)))
	}
	return strings.Join(shown, ", ")
}

func joinOnce(words []string) string {
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ", ")
}
