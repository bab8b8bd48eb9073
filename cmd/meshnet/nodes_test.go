package main

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/coord"
)

// says runs a command on the mesh, and wants texts in what it prints.
func (h *hosted) says(t *testing.T, texts []string, args ...string) {
	t.Helper()
	printed := h.admin(t, args...)
	for _, text := range texts {
		if !strings.Contains(printed, text) {
			t.Errorf("%q does not say %q: %s", args, text, printed)
		}
	}
}

// refuses runs a command on the mesh that cannot be done.
func (h *hosted) refuses(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	if printed := does(t, code, append(args, "-dir", h.dir)...); !strings.Contains(printed, text) {
		t.Errorf("%q does not say %q: %s", args, text, printed)
	}
}

// decodes runs a command on the mesh, and returns what it prints as JSON.
func decodes[T any](t *testing.T, h *hosted, args ...string) (v T) {
	t.Helper()
	text := h.admin(t, append(args, "-json")...)
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%q prints no JSON: %v: %s", args, err, text)
	}
	return v
}

func (h *hosted) authKey(t *testing.T, flags ...string) string {
	t.Helper()
	return strings.TrimSpace(h.admin(t, append([]string{"authkey"}, flags...)...))
}

func TestNodes(t *testing.T) {
	h := host(t, shortDir(t))
	h.says(t, []string{"no nodes yet", "meshnet authkey"}, "nodes")
	if text := h.admin(t, "nodes", "-json"); text != "[]\n" {
		t.Errorf("no nodes are %q", text)
	}
	h.join(t, "one", h.authKey(t))
	two := h.join(t, "two", h.authKey(t, "-tags", "tag:db"))
	h.says(t, []string{"ID", "one", "two", "online", "tag:db", two.Status().Self.Addresses[0].String()}, "nodes")
	h.says(t, []string{"one.mesh.internal", "nodekey:", "Endpoints"}, "nodes", "show", "one")
	if nodes := decodes[[]coord.Node](t, h, "nodes", "list"); len(nodes) != 2 || nodes[1].Key.String() != two.Status().Self.Key.String() {
		t.Errorf("the nodes: %+v", nodes)
	}

	h.says(t, []string{"www.mesh.internal"}, "nodes", "rename", "one", "www")
	h.says(t, []string{"one.mesh.internal"}, "nodes", "rename", "WWW.mesh.internal.")
	h.says(t, []string{"tag:api, tag:web"}, "nodes", "tag", "1", "tag:web,tag:api")
	h.says(t, []string{"acts for the user user"}, "nodes", "tag", "1")
	h.admin(t, "users", "add", "ann")
	h.says(t, []string{"belongs to the user ann"}, "nodes", "give", "one", "ann")
	h.says(t, []string{"may stay until"}, "nodes", "renew", "-for", "12h", "one")
	h.says(t, []string{"for ever"}, "nodes", "renew", "one")

	h.refuses(t, exitFailed, "meshnet nodes lists them", "nodes", "expire", "one", "three")
	if one := decodes[coord.Node](t, h, "nodes", "show", "one"); one.Expired || one.User != "ann" {
		t.Errorf("a command that names a wrong node does half of it: %+v", one)
	}
	h.refuses(t, exitFailed, "another node", "nodes", "rename", "one", "two")
	h.refuses(t, exitFailed, "meshnet users add", "nodes", "give", "one", "bob")
	h.refuses(t, exitUsage, "no tag", "nodes", "tag", "one", "web")
	h.refuses(t, exitUsage, "NODE", "nodes", "expire")
	h.refuses(t, exitUsage, "approve", "nodes", "appr")

	h.says(t, []string{"logged out"}, "nodes", "expire", "one")
	h.says(t, []string{"expired"}, "nodes")
	h.says(t, []string{"two.mesh.internal is removed"}, "nodes", "remove", "2", "two")
	if nodes := decodes[[]coord.Node](t, h, "nodes"); len(nodes) != 1 {
		t.Errorf("a removed node is there: %+v", nodes)
	}
}

// Who administers a mesh need not keep its coordinator running.
func TestAdministrationOfAMeshThatIsDown(t *testing.T) {
	h := host(t, shortDir(t))
	h.join(t, "one", h.authKey(t)).Close()
	h.interrupt()
	h.ends(t, "a signal", exitOK)
	h.says(t, []string{"www.mesh.internal"}, "nodes", "rename", "one", "www")
	h.says(t, []string{"www", "No coordinator runs"}, "nodes")
	h.says(t, []string{"ann"}, "users", "add", "ann")
	h.says(t, []string{"db.mesh.internal"}, "dns", "add", "db", "100.64.0.1")
	h.says(t, []string{"mkadmin-"}, "coord", "secret")

	again := host(t, h.dir)
	again.says(t, []string{"www"}, "nodes")
	again.says(t, []string{"ann"}, "users")
	again.says(t, []string{"db.mesh.internal"}, "dns")
	if text := does(t, exitFailed, "nodes", "-dir", shortDir(t)); !strings.Contains(text, "meshnet coord -dir") {
		t.Errorf("a directory with nothing in it: %s", text)
	}
}

// A name is not a number, unless it looks like one.
func TestFindNode(t *testing.T) {
	node := func(id int64, name, addr string) coord.Node {
		return coord.Node{ID: id, Name: name + ".mesh.internal", IPv4: netip.MustParseAddr(addr), IPv6: netip.MustParseAddr("fd7a:115c:a1e0::" + name)}
	}
	all := []coord.Node{node(1, "a", "100.64.0.1"), node(2, "1", "100.64.0.2"), node(3, "4", "100.64.0.3")}
	for _, tt := range []struct {
		text string
		want int64 // 0: an error
	}{
		{"a", 1}, {"A.Mesh.Internal.", 1}, {"100.64.0.1", 1}, {"fd7a:115c:a1e0::a", 1},
		{"2", 2}, {"1.mesh.internal", 2}, {"4", 3},
		{"1", 0}, {"", 0}, {"5", 0}, {"a.mesh", 0},
	} {
		n, err := findNode(all, tt.text)
		if n.ID != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("%q is node %d, %v; want %d", tt.text, n.ID, err, tt.want)
		}
	}
}

// A node that came without a key waits for an administrator.
func TestNodesThatWait(t *testing.T) {
	h := host(t, shortDir(t))
	h.says(t, []string{"No node waits"}, "nodes", "waiting")
	h.admin(t, "users", "add", "ann")
	wait := func(name string) (node *meshnet.Server, url string) {
		urls := make(chan string, 1)
		node = &meshnet.Server{Hostname: name, ControlURL: h.url, Store: meshnet.NewMemoryStore(), OnAuthURL: func(u string) { urls <- u }}
		t.Cleanup(func() { node.Close() })
		if err := node.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case url = <-urls:
		case <-testCtx(t).Done():
			t.Fatal("no login URL comes")
		}
		return node, url
	}
	node, url := wait("laptop")
	h.says(t, []string{"wait to be let in", "laptop"}, "nodes")
	h.refuses(t, exitFailed, "meshnet nodes waiting", "nodes", "approve", "http://elsewhere/login/x")
	h.refuses(t, exitFailed, "meshnet users add", "nodes", "approve", "-user", "bob", url)
	h.refuses(t, exitUsage, "contradict", "nodes", "approve", "-tags", "tag:a", "-no-tags", url)
	h.says(t, []string{"is let in"}, "nodes", "approve", "-user", "ann", "-tags", "tag:web", url)
	if status, err := node.Up(testCtx(t)); err != nil || len(status.Self.Tags) != 1 {
		t.Errorf("the node that was let in: %+v, %v", status, err)
	}

	_, url = wait("intruder")
	logins := decodes[[]coord.Login](t, h, "nodes", "waiting")
	if len(logins) != 1 || !strings.HasSuffix(url, logins[0].ID) {
		t.Errorf("those who wait: %+v", logins)
	}
	h.says(t, []string{"turned away"}, "nodes", "reject", logins[0].ID)
}
