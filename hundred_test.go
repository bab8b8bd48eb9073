package meshnet

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestAHundredServers has them all in this process, ten in each of ten groups that
// know nothing of each other, and each with its own name, key and address: every
// one reaches the next of its group, and goes on when others are closed.
func TestAHundredServers(t *testing.T) {
	const size = 10 // of a group; larger ones cost the square in handshakes
	m := newMesh(t, nil)
	var owners, rules []string
	for group := range 10 {
		tag := fmt.Sprint("tag:g", group)
		owners = append(owners, fmt.Sprintf(`%q: []`, tag))
		rules = append(rules, fmt.Sprintf(`{"action": "accept", "src": [%q], "dst": [%q]}`, tag, tag+":*"))
	}
	policy := fmt.Sprintf(`{"tagOwners": {%s}, "acls": [%s]}`, strings.Join(owners, ","), strings.Join(rules, ","))
	if err := m.coord.SetPolicy(t.Context(), []byte(policy)); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	servers := make([]*Server, 10*size)
	for i := range servers {
		s := m.server(fmt.Sprint("node", i))
		s.AuthKey = m.authKeyFor(fmt.Sprint("tag:g", i/size))
		servers[i] = s
		all.Go(func() {
			if _, err := s.Up(testCtx(t)); err != nil {
				t.Errorf("%s: %v", s.Hostname, err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	seen := make(map[any]bool)
	for _, s := range servers {
		ip4, ip6 := s.IPs()
		for _, own := range []any{ip4, ip6, s.Status().Self.Key, s.Status().Self.Name, identityOf(t, s).machine.Public()} {
			if seen[own] {
				t.Errorf("two servers have %v", own)
			}
			seen[own] = true
		}
		eventually(t, s.Hostname+" knows the others", func() bool { return len(s.Status().Peers) == size-1 })
	}
	for group := range slices.Chunk(servers, size) {
		reach(t, group)
		for _, s := range group[size/2:] {
			all.Go(func() { s.Close() })
		}
	}
	all.Wait()
	for group := range slices.Chunk(servers, size) {
		reach(t, group[:size/2])
	}
}

// reach has every server dial the next, which sees who it is.
func reach(t *testing.T, servers []*Server) {
	t.Helper()
	for i, s := range servers {
		next := servers[(i+1)%len(servers)]
		ln, err := next.Listen("tcp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		dialled, accepted := pair(t, s, ln, next.Hostname+":7")
		ip4, ip6 := s.IPs() // the latter when an attempt over IPv4 takes long
		if from := netip.MustParseAddrPort(accepted.RemoteAddr().String()).Addr(); from != ip4 && from != ip6 {
			t.Errorf("the connection of %s comes from %v", s.Hostname, from)
		}
		for _, c := range []io.Closer{dialled, accepted, ln} {
			c.Close()
		}
	}
}
