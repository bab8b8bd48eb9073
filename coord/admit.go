package coord

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// minVersion is the least capability version that is admitted, as in Headscale:
// from 113 on nodes know everything we send, such as HomeDERP and rules by name.
const minVersion tailcfg.CapabilityVersion = 113

// maxNodes bounds the tailnet, which anybody with a reusable auth key can make
// grow.
const maxNodes = 20_000

// refusal is a sentence that tells the person behind a node why it may not
// join.
type refusal string

func (r refusal) Error() string { return string(r) }

// admission answers a registration: one of the three is set.
type admission struct {
	node    *node
	expired bool   // the node key is no longer good: make a new one
	login   *login // an administrator must approve first
}

// register decides on a registration. A returned error is a refusal, or
// errTooManyLogins.
func (s *state) register(now time.Time, machine key.MachinePublic, req *tailcfg.RegisterRequest) (admission, error) {
	switch {
	case req.Version < minVersion:
		return admission{}, refusal(fmt.Sprintf("this node's software is too old for the coordinator: its capability version is %d, the least is %d", req.Version, minVersion))
	case req.NodeKey.IsZero():
		return admission{}, refusal("the registration has no node key")
	}
	known := s.nodes[s.byKey[req.NodeKey]]
	switch {
	case known != nil && known.Machine != machine:
		return admission{}, refusal("this node key belongs to another machine")
	case isLogout(now, req):
		s.logout(now, known)
		return admission{expired: true}, nil
	case known != nil && known.expiredAt(now):
		return admission{expired: true}, nil
	case known != nil: // it is back: an auth key is not looked at
		tags, err := s.tagsFor(req, known.Tags, known.User)
		if err != nil {
			return admission{}, err
		}
		if !slices.Equal(tags, known.Tags) {
			known = s.change(known, func(n *node) { n.tag(tags) })
		}
		return admission{node: s.describeAnew(known, req)}, nil
	}
	return s.admit(now, machine, req)
}

func (n *node) expiredAt(now time.Time) bool {
	return n.Expired || !n.KeyExpiry.IsZero() && !now.Before(n.KeyExpiry)
}

// isLogout reports whether the registration is one that ends with the past.
func isLogout(now time.Time, req *tailcfg.RegisterRequest) bool {
	return !req.Expiry.IsZero() && req.Expiry.Before(now)
}

func (s *state) logout(now time.Time, n *node) {
	switch {
	case n == nil:
	case n.Ephemeral:
		s.drop(n)
	case !n.expiredAt(now):
		s.expire(now, n)
	}
}

// admit takes in a node key that is not known.
func (s *state) admit(now time.Time, machine key.MachinePublic, req *tailcfg.RegisterRequest) (admission, error) {
	old, err := s.replaced(now, machine, req)
	if err != nil {
		return admission{}, err
	}
	g, err := s.grantFor(now, req, old)
	if err != nil {
		return admission{}, err
	}
	if g.needsApproval {
		g.login, err = s.loginFor(now, machine, req)
		if err != nil || !g.login.Approved {
			return admission{login: g.login}, err
		}
		g.owner, g.tags = g.login.Owner, g.login.Tags
	}
	if g.tags, err = s.tagsFor(req, g.tags, g.owner); err != nil {
		return admission{}, err
	}
	n, err := s.record(now, machine, old)
	if err != nil {
		return admission{}, err
	}
	n.Key, n.User, n.Ephemeral, n.KeyExpiry, n.Expired = req.NodeKey, g.owner, g.ephemeral || req.Ephemeral, g.keyExpiry, false
	n.tag(g.tags)
	if !n.online() {
		n.LastSeen = now // an ephemeral node that never comes is forgotten too
	}
	s.putNode(n)
	g.spend(now, s)
	return admission{node: s.describeAnew(n, req)}, nil
}

// replaced returns the record that the registration takes over, or nil: the one
// with the old node key, or one of the same machine that has logged out or
// expired, so that a node that comes back keeps its name and addresses.
func (s *state) replaced(now time.Time, machine key.MachinePublic, req *tailcfg.RegisterRequest) (old *node, err error) {
	if old := s.nodes[s.byKey[req.OldNodeKey]]; old != nil {
		if old.Machine != machine {
			return nil, refusal("the old node key belongs to another machine")
		}
		return old, nil
	}
	for _, id := range s.byMachine[machine] {
		if n := s.nodes[id]; n.expiredAt(now) && (old == nil || n.ID < old.ID) {
			old = n
		}
	}
	return old, nil
}

// grant is what a registration may have, and from where.
type grant struct {
	owner     tailcfg.UserID
	tags      []string
	ephemeral bool
	keyExpiry time.Time

	needsApproval bool
	authKey       *authKey // spent by it, or nil
	login         *login   // spent by it, or nil
}

// grantFor looks for the credential of a registration: an auth key, a record of
// its own that is still good, or else an administrator's approval.
func (s *state) grantFor(now time.Time, req *tailcfg.RegisterRequest, old *node) (grant, error) {
	fresh := grant{}
	if s.keyExpiry > 0 {
		fresh.keyExpiry = now.Add(s.keyExpiry)
	}
	switch {
	case req.Auth != nil && req.Auth.AuthKey != "":
		k, err := s.findAuthKey(now, req.Auth.AuthKey)
		if err != nil {
			return grant{}, err
		}
		fresh.owner, fresh.tags, fresh.ephemeral, fresh.authKey = k.Owner, k.Tags, k.Ephemeral, k
		return fresh, nil
	case old != nil && !old.expiredAt(now):
		// Changing the key alone does not make it last longer.
		return grant{owner: old.User, tags: old.Tags, ephemeral: old.Ephemeral, keyExpiry: old.KeyExpiry}, nil
	}
	fresh.needsApproval = true
	return fresh, nil
}

// spend notes that the grant was used.
func (g grant) spend(now time.Time, s *state) {
	if g.authKey != nil {
		k := *g.authKey
		k.Uses, k.LastUsed = k.Uses+1, now
		s.put(&k)
	}
	if g.login != nil {
		s.drop(g.login)
	}
}

// record returns a copy of the old record, or a new one with an ID, a name and
// addresses.
func (s *state) record(now time.Time, machine key.MachinePublic, old *node) (*node, error) {
	if old != nil {
		n := *old
		return &n, nil
	}
	if len(s.nodes) >= maxNodes {
		return nil, refusal(fmt.Sprintf("the tailnet is full: it has %d nodes", len(s.nodes)))
	}
	next := max(s.ledger.NextAddr, 1)
	ipv4, ipv6, err := s.alloc.allocate(&next, func(a netip.Addr) bool { return s.byAddr[a] != 0 })
	if err != nil {
		return nil, refusal(err.Error())
	}
	s.give(func(l *ledger) {
		l.LastNode++
		l.NextAddr = next
	})
	return &node{
		ID:       s.ledger.LastNode,
		Machine:  machine,
		Name:     s.uniqueName(nameless, s.ledger.LastNode),
		Wanted:   nameless,
		IPv4:     ipv4,
		IPv6:     ipv6,
		Created:  now,
		LastSeen: now,
	}, nil
}
