package coord

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/cert"
	"github.com/meshnet-go/meshnet/internal/policy"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// state is a copy of what the store holds, and decides everything that changes
// it. It has no clock, no lock and no goroutine: the server's loop owns it, and
// passes the time.
//
// A decision changes records here first. The loop then has the store make the
// same changes, and depending on how that went calls committed or rollback.
type state struct {
	self      string        // the coordinator whose state it is
	keyExpiry time.Duration // of new node keys; 0 is never
	alloc     allocator

	entries map[string]entry // by key
	// touched holds what decisions have changed and the store does not have
	// yet: by key the records that it has; nil where it has none.
	touched map[string]record
	// altered holds the nodes that have changed since the last snapshot, as
	// they are in it; nil where they are not.
	altered map[tailcfg.NodeID]*node
	// settled holds the logins that have been decided or are gone since the
	// last snapshot.
	settled []string
	// usersChanged says that users have, since the last snapshot.
	usersChanged bool
	// policy is in force: that of the policy record, or else basePolicy.
	policy, basePolicy *policy.Policy
	// dns is in force: that of the DNS record, or else baseDNS.
	dns, baseDNS *DNS
	// terms are what decisions have made of them; they are not stored.
	terms *terms
	// due is when advance has something to do, at the earliest; zero is never.
	due time.Time
	// routesAltered says that something has changed that the choice of primary
	// routers goes by.
	routesAltered bool

	// Indexes of the records. They change by enter and leave alone.
	tailnet      *tailnet
	authority    *cert.Authority
	ledger       *ledger
	admin        *admin
	nodes        map[tailcfg.NodeID]*node
	byKey        map[key.NodePublic]tailcfg.NodeID
	byMachine    map[key.MachinePublic][]tailcfg.NodeID
	byName       map[string]tailcfg.NodeID
	byAddr       map[netip.Addr]tailcfg.NodeID
	routers      map[tailcfg.NodeID]bool // those that advertise routes, or are primaries
	authKeys     map[string]*authKey
	logins       map[string]*login
	users        map[tailcfg.UserID]*user
	byLogin      map[string]*user // by User.Login
	coordinators map[string]*coordinator

	presence presence
}

// entry is what the state knows of an entry of the store.
type entry struct {
	record   record // nil: deleted by us, or of an unknown kind
	revision int64  // in the store
}

func newState(self string, alloc allocator, keyExpiry time.Duration) *state {
	all, dns := policy.AllowAll(), new(DNS)
	return &state{
		self:         self,
		keyExpiry:    keyExpiry,
		alloc:        alloc,
		entries:      make(map[string]entry),
		touched:      make(map[string]record),
		altered:      make(map[tailcfg.NodeID]*node),
		ledger:       new(ledger),
		admin:        new(admin),
		nodes:        make(map[tailcfg.NodeID]*node),
		byKey:        make(map[key.NodePublic]tailcfg.NodeID),
		byMachine:    make(map[key.MachinePublic][]tailcfg.NodeID),
		byName:       make(map[string]tailcfg.NodeID),
		byAddr:       make(map[netip.Addr]tailcfg.NodeID),
		routers:      make(map[tailcfg.NodeID]bool),
		authKeys:     make(map[string]*authKey),
		logins:       make(map[string]*login),
		users:        make(map[tailcfg.UserID]*user),
		byLogin:      make(map[string]*user),
		coordinators: make(map[string]*coordinator),
		policy:       all,
		basePolicy:   all,
		dns:          dns,
		baseDNS:      dns,
		terms:        new(terms),
		presence:     newPresence(),
	}
}

// put makes r the record of its entry.
func (s *state) put(r record) { s.decide(r.entryKey(), r) }

// drop deletes the record's entry.
func (s *state) drop(r record) { s.decide(r.entryKey(), nil) }

func (s *state) decide(k string, r record) {
	if _, ok := s.touched[k]; !ok {
		s.touched[k] = s.entries[k].record
	}
	s.replace(k, r)
}

// replace makes r, or nothing, the record of an entry.
func (s *state) replace(k string, r record) {
	e := s.entries[k]
	if e.record != nil {
		e.record.leave(s)
	}
	if e.record = r; r != nil {
		r.enter(s)
	}
	s.entries[k] = e
}

// changes returns what decisions have changed, for the store, in the order of
// keys. Records that are what they were are forgotten.
func (s *state) changes() (changes []Change, err error) {
	for k, was := range s.touched {
		e := s.entries[k]
		if e.record == was {
			delete(s.touched, k)
			continue
		}
		c := Change{Key: k}
		if was != nil {
			c.Was = e.revision
		}
		if e.record != nil {
			if c.Value, err = json.Marshal(e.record); err != nil {
				return nil, fmt.Errorf("coord: %w", err)
			}
		}
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.Key, b.Key) })
	return changes, nil
}

// committed says that the store has made the changes.
func (s *state) committed(revision int64) {
	for k := range s.touched {
		e := s.entries[k]
		e.revision = revision
		s.entries[k] = e // that of a deleted one stays until merge hears of it
	}
	clear(s.touched)
}

// longAgo is a time by which everything is due.
var longAgo = time.Unix(0, 0)

// rollback takes back what was decided since the last commit.
func (s *state) rollback() {
	for k, was := range s.touched {
		s.replace(k, was)
	}
	clear(s.touched)
	s.dueAt(longAgo) // what was due still is
}

// merge takes over a commit as the store tells it: one of another coordinator,
// or one of ours that is known already. Nothing may be undecided.
func (s *state) merge(now time.Time, commit []Entry) error {
	for _, told := range commit {
		if known := s.entries[told.Key]; known.revision >= told.Revision {
			if known.record == nil && known.revision == told.Revision {
				delete(s.entries, told.Key)
			}
			continue
		}
		r, err := record(nil), error(nil)
		if told.Value != nil {
			if r, err = parseRecord(told); err != nil {
				return err
			}
		}
		s.replace(told.Key, r)
		s.entries[told.Key] = entry{r, told.Revision}
		if told.Value == nil {
			delete(s.entries, told.Key)
		}
		if c, ok := r.(*coordinator); ok {
			s.presence.heard[c.ID] = now
		}
	}
	return nil
}

// restore makes the state what the store holds, whatever it was.
func (s *state) restore(now time.Time, all []Entry) error {
	clear(s.touched)
	kept := make(map[string]bool, len(all))
	for _, e := range all {
		kept[e.Key] = true
	}
	for k := range s.entries {
		if !kept[k] {
			s.replace(k, nil)
			delete(s.entries, k)
		}
	}
	if err := s.merge(now, all); err != nil {
		return err
	}
	return s.checkNodes()
}

// checkNodes returns an error when two nodes have what only one may have.
func (s *state) checkNodes() error {
	for id, n := range s.nodes {
		if s.byKey[n.Key] != id || s.byName[n.Name] != id || s.byAddr[n.IPv4] != id || s.byAddr[n.IPv6] != id {
			return fmt.Errorf("node %d shares its key, name or addresses with another", id)
		}
	}
	return nil
}

// find returns the node with that key if it belongs to the machine, or nil.
func (s *state) find(k key.NodePublic, machine key.MachinePublic) *node {
	if n := s.nodes[s.byKey[k]]; n != nil && n.Machine == machine {
		return n
	}
	return nil
}

// change puts a copy of the node after f has changed it.
func (s *state) change(n *node, f func(*node)) *node {
	changed := *n
	f(&changed)
	s.putNode(&changed)
	return &changed
}

// putNode is put for nodes: it sees to the ledger when the node is given
// something.
func (s *state) putNode(n *node) {
	old := s.nodes[n.ID]
	if old == nil || old.Name != n.Name || old.Key != n.Key {
		s.give(func(*ledger) {})
	}
	s.put(n)
}

// expire ends the node's membership until it is admitted anew.
func (s *state) expire(now time.Time, n *node) {
	s.change(n, func(n *node) { n.KeyExpiry, n.Expired = now, true })
}

// rename has the node called name, or what it wants to be called if that is
// empty.
func (s *state) rename(n *node, name string) error {
	switch {
	case name == "":
		s.change(n, func(n *node) { n.Renamed, n.Name = false, s.uniqueName(n.Wanted, n.ID) })
		return nil
	case name != label(name):
		return fmt.Errorf("coord: %q is not a DNS label of lower-case letters, digits and hyphens", name)
	case s.uniqueName(name, n.ID) != name:
		return errors.New("coord: another node is named " + name)
	}
	s.change(n, func(n *node) { n.Renamed, n.Name = true, name })
	return nil
}

// give notes that something is given to a node or user that two must not have.
func (s *state) give(f func(*ledger)) {
	l := *s.ledger
	l.Writes++
	f(&l)
	s.put(&l)
}

// dueAt has advance called at t.
func (s *state) dueAt(t time.Time) {
	if s.due.IsZero() || t.Before(s.due) {
		s.due = t
	}
}

// advance does what has become due by now.
func (s *state) advance(now time.Time) {
	if s.due.IsZero() || now.Before(s.due) {
		return
	}
	s.due = time.Time{}
	s.advancePresence(now)
	for _, n := range s.nodes {
		s.advanceNode(now, n)
	}
	for _, l := range s.logins {
		if now.Before(l.Expires) {
			s.dueAt(l.Expires)
		} else {
			s.drop(l)
		}
	}
}

// advanceNode does what has become due for one node.
func (s *state) advanceNode(now time.Time, n *node) {
	if forget := n.forgetAt(); !forget.IsZero() {
		if !now.Before(forget) {
			s.drop(n)
			return
		}
		s.dueAt(forget)
	}
	switch {
	case n.Expired || n.KeyExpiry.IsZero():
	case now.Before(n.KeyExpiry):
		s.dueAt(n.KeyExpiry)
	default:
		expired := *n
		expired.Expired = true
		s.replace(n.entryKey(), &expired) // the store has KeyExpiry, and that says it
	}
}
