package coord

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/policy"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// maxPolicy bounds a policy file.
const maxPolicy = 1 << 20 // bytes

// PolicyError is what is wrong with a policy file, and where. An error of
// [Server.SetPolicy] has all of them; errors.As finds the first.
type PolicyError struct {
	Line, Column int // from 1
	Reason       string
}

func (e PolicyError) Error() string {
	return fmt.Sprintf("policy:%d:%d: %s", e.Line, e.Column, e.Reason)
}

// policyErrors is all that is wrong with a policy file.
type policyErrors []error

func (e policyErrors) Unwrap() []error { return e }

func (e policyErrors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// parsePolicy reads a policy file.
func parsePolicy(text []byte) (*policy.Policy, error) {
	if len(text) > maxPolicy {
		return nil, fmt.Errorf("coord: a policy has at most %d bytes, and this has %d", maxPolicy, len(text))
	}
	p, err := policy.Parse(text)
	var all policy.Errors
	if errors.As(err, &all) {
		list := make(policyErrors, len(all))
		for i, e := range all {
			list[i] = PolicyError(e)
		}
		return nil, list
	}
	return p, err
}

// CheckPolicy returns what SetPolicy would say to a policy, running the tests
// in it.
func CheckPolicy(text []byte) error {
	_, err := parsePolicy(text)
	return err
}

// SetPolicy puts a policy in force, for all nodes at once. Empty text takes it
// away: then [Config].Policy is in force, or all may reach all.
//
// A policy is JSON, with comments and with commas behind last elements, in the
// form of Tailscale's and Headscale's policies:
//
//	{
//		"groups":    {"group:dev": ["alice@example.com", "bob@"]},
//		"tagOwners": {"tag:web": ["group:dev"]},
//		"hosts":     {"office": "10.1.0.0/16"},
//		"acls": [
//			{"action": "accept", "src": ["group:dev"], "proto": "tcp", "dst": ["tag:web:22,80-90", "office:*"]},
//			{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]},
//		],
//		"grants":        [{"src": ["group:dev"], "dst": ["tag:web"], "app": {"example.com/cap/admin": [{"role": "owner"}]}}],
//		"autoApprovers": {"routes": {"10.0.0.0/8": ["tag:web"]}, "exitNode": ["group:dev"]},
//		"tests":         [{"src": "alice@example.com", "proto": "tcp", "accept": ["tag:web:22"], "deny": ["tag:web:23"]}],
//	}
//
// Sources and destinations are "*", users, groups, tags, addresses, prefixes,
// hosts, and as autogroups member, tagged, admin, self and internet, the last
// two as destinations alone. Nodes see those whom they may reach, or who may
// reach them, and nobody else.
//
// A policy with a mistake, or a test that fails, is refused: the error has a
// [PolicyError] for each, and the policy that is in force stays.
func (s *Server) SetPolicy(ctx context.Context, text []byte) error {
	r := &policyRecord{Text: string(text)}
	if err := r.check(); err != nil && len(text) > 0 {
		return err
	}
	return s.do(ctx, func(now time.Time, st *state) error {
		if len(text) == 0 {
			st.decide(kindPolicy, nil)
			return nil
		}
		set := *r
		set.Set = now
		st.put(&set)
		st.autoApproveAll()
		return nil
	})
}

// Policy returns the text that was set last, or nil when none is.
func (s *Server) Policy(ctx context.Context) ([]byte, error) {
	return decide(ctx, s, func(_ time.Time, st *state) ([]byte, error) {
		if r, ok := st.entries[kindPolicy].record.(*policyRecord); ok {
			return []byte(r.Text), nil
		}
		return nil, nil
	})
}

// policyRecord is the record of the policy that an administrator has set.
type policyRecord struct {
	Text string
	Set  time.Time

	policy *policy.Policy // what Text says; set by check
}

func (r *policyRecord) entryKey() string { return kindPolicy }
func (r *policyRecord) enter(s *state)   { s.policy = r.policy }
func (r *policyRecord) leave(s *state)   { s.policy = s.basePolicy }

func (r *policyRecord) check() (err error) {
	r.policy, err = parsePolicy([]byte(r.Text))
	return err
}

// policyNode returns what the policy looks at in the node.
func (n *node) policyNode(users map[tailcfg.UserID]*user) policy.Node {
	p := policy.Node{ID: n.ID, Tags: n.Tags, Addrs: n.addrs(), Routes: n.routes()}
	if u := users[n.User]; u != nil {
		p.User, p.Admin = u.Login, u.Admin
	}
	return p
}

// mayApply reports whether a node of the user, that has tags, may take another.
func (s *state) mayApply(owner tailcfg.UserID, has []string, tag string) bool {
	if len(has) > 0 {
		return s.policy.MayTag(policy.Node{Tags: has}, tag)
	}
	u := s.users[owner]
	return u != nil && s.policy.MayTag(policy.Node{User: u.Login, Admin: u.Admin}, tag)
}

// compile returns who may reach whom at the present moment. Of what old knows
// only the altered nodes are looked at, unless old is of another policy or
// other users.
func (s *state) compile(old *snapshot) *policy.Compiled {
	if old.terms == s.terms {
		nodes, gone := make([]policy.Node, 0, len(s.altered)), []tailcfg.NodeID(nil)
		for id := range s.altered {
			if n := s.nodes[id]; n != nil {
				nodes = append(nodes, n.policyNode(s.users))
			} else {
				gone = append(gone, id)
			}
		}
		return old.access.Update(nodes, gone...)
	}
	nodes := make([]policy.Node, 0, len(s.nodes))
	for _, n := range s.nodes {
		nodes = append(nodes, n.policyNode(s.users))
	}
	if old.access == nil || old.access.Policy() != s.policy {
		return s.policy.Compile(nodes)
	}
	gone := slices.DeleteFunc(old.ids(), func(id tailcfg.NodeID) bool { return s.nodes[id] != nil })
	return old.access.Update(nodes, gone...)
}
