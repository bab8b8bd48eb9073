package coord

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// Keys of the nodes that the fuzzed requests may speak of.
const (
	fuzzNode  = "nodekey:1111111111111111111111111111111111111111111111111111111111111111"
	fuzzOther = "nodekey:2222222222222222222222222222222222222222222222222222222222222222"
	fuzzKey   = "mkauth-FUZZ-SECRET"
)

var (
	fuzzMachine = key.MachinePublicFromRaw32([32]byte{1})
	fuzzVictim  = key.MachinePublicFromRaw32([32]byte{2})
)

// fuzzState has a node of the fuzzed machine, one of another, and an auth key.
func fuzzState(t *testing.T) *state {
	s := testState()
	s.put(&authKey{AuthKey: AuthKey{ID: "FUZZ", Reusable: true, Tags: []string{"tag:a"}}, Owner: defaultUser, Hash: hashAuthKey(fuzzKey)})
	for text, m := range map[string]key.MachinePublic{fuzzNode: fuzzMachine, fuzzOther: fuzzVictim} {
		k, err := key.ParseNodePublic(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.register(epoch, m, request(k, "victim", fuzzKey)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// checkState fails when the state is not one that can be told and saved.
func checkState(t *testing.T, s *state) {
	t.Helper()
	names, addrs := make(map[string]bool), make(map[netip.Addr]bool)
	for id, n := range s.nodes {
		if n.ID != id || s.byKey[n.Key] != id || n.Key.IsZero() {
			t.Fatalf("node %d is not found by its key: %+v", id, n)
		}
		if names[n.Name] || addrs[n.IPv4] || addrs[n.IPv6] || n.Name != label(n.Name) {
			t.Fatalf("node %d shares its name or addresses, or has no name: %+v", id, n)
		}
		names[n.Name], addrs[n.IPv4], addrs[n.IPv6] = true, true, true
	}
	if len(s.byKey) != len(s.nodes) {
		t.Fatalf("%d keys for %d nodes", len(s.byKey), len(s.nodes))
	}
	snap := s.whole()
	for _, n := range snap.nodes {
		data, err := json.Marshal(fullMap(snap, sight{n, snap.access.View(n.ID), snap.terms}))
		if err != nil || len(data) > 100<<10 {
			t.Fatalf("the map is %d bytes, %v", len(data), err)
		}
	}
	changes, err := s.changes()
	if err != nil {
		t.Fatal(err)
	}
	var all []Entry
	for _, c := range changes {
		if c.Value != nil {
			all = append(all, Entry{c.Key, c.Value, 1})
		}
	}
	if err := testState().restore(epoch, all); err != nil {
		t.Fatalf("what was stored cannot be restored: %v", err)
	}
}

func FuzzRegister(f *testing.F) {
	f.Add([]byte(`{"Version":130,"NodeKey":"`+fuzzNode+`","Hostinfo":{"Hostname":"web"}}`), int64(0))
	f.Add([]byte(`{"Version":130,"NodeKey":"nodekey:3333333333333333333333333333333333333333333333333333333333333333","OldNodeKey":"`+fuzzNode+`"}`), int64(5))
	f.Add([]byte(`{"Version":130,"NodeKey":"nodekey:3333333333333333333333333333333333333333333333333333333333333333","OldNodeKey":"`+fuzzOther+`"}`), int64(5))
	f.Add([]byte(`{"Version":130,"NodeKey":"nodekey:3333333333333333333333333333333333333333333333333333333333333333","Auth":{"AuthKey":"`+fuzzKey+`"},"Ephemeral":true,"Hostinfo":{"RequestTags":["tag:a"]}}`), int64(1))
	f.Add([]byte(`{"Version":130,"NodeKey":"`+fuzzNode+`","Expiry":"1970-01-01T00:02:03Z"}`), int64(0))
	f.Add([]byte(`{"Version":130,"NodeKey":"`+fuzzNode+`","Followup":"https://coord/login/x"}`), int64(1<<40))
	f.Fuzz(func(t *testing.T, body []byte, seconds int64) {
		var req tailcfg.RegisterRequest
		if json.Unmarshal(body, &req) != nil {
			return
		}
		s := fuzzState(t)
		before := s.victim()
		now := epoch.Add(time.Duration(seconds%1e6) * time.Second)
		loginID(req.Followup)
		a, err := s.register(now, fuzzMachine, &req)
		if err != nil && a != (admission{}) {
			t.Fatalf("refused and admitted: %+v, %v", a, err)
		}
		if a.node != nil && (a.node.Machine != fuzzMachine || a.node.Key != req.NodeKey) {
			t.Fatalf("admitted another: %+v", a.node)
		}
		if s.victim() != before {
			t.Fatal("a machine changed another machine's node")
		}
		checkState(t, s)
		s.advance(now.Add(time.Hour))
		checkState(t, s)
	})
}

// victim returns the node of the other machine.
func (s *state) victim() *node {
	for _, n := range s.nodes {
		if n.Machine == fuzzVictim {
			return n
		}
	}
	return nil
}

func FuzzMap(f *testing.F) {
	f.Add([]byte(`{"Version":130,"DiscoKey":"discokey:3333333333333333333333333333333333333333333333333333333333333333","Endpoints":["192.0.2.1:1","[fe80::1%eth0]:2",""],"Hostinfo":{"Hostname":"victim","NetInfo":{"PreferredDERP":-1}}}`))
	f.Add([]byte(`{"Hostinfo":{"Hostname":"ÿ\u0000","RoutableIPs":["0.0.0.0/0","::/0",""],"Services":[{"Proto":"tcp","Port":1}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var req tailcfg.MapRequest
		if json.Unmarshal(body, &req) != nil {
			return
		}
		s := fuzzState(t)
		old := s.whole()
		n := s.nodes[s.byKey[old.nodes[0].Key]]
		s.recall(n, &req)
		checkState(t, s)
		s.report(s.nodes[n.ID], &req)
		checkState(t, s)
		next := s.whole()
		if resp := difference(old, next, old.nodes[1].ID); resp != nil {
			if _, err := json.Marshal(resp); err != nil {
				t.Fatal(err)
			}
		}
	})
}
