package main

import (
	"net"
	"testing"

	"github.com/meshnet-go/meshnet/coord"
)

func TestDNS(t *testing.T) {
	h := host(t, shortDir(t), "-domain", "home.test")
	node := h.join(t, "one", h.authKey(t))
	addr := node.Status().Self.Addresses[0].String()
	h.says(t, []string{"resolve the names of nodes"}, "dns")
	h.says(t, []string{"db.home.test", addr}, "dns", "add", "db", addr)
	h.says(t, []string{"git.example.com"}, "dns", "add", "Git.Example.com.", addr)
	h.says(t, []string{"below corp.example.com", "10.0.0.53"}, "dns", "split", "corp.example.com", "10.0.0.53", "10.0.0.54:53")
	h.says(t, []string{"all others", "9.9.9.9"}, "dns", "resolvers", "9.9.9.9")
	d := decodes[coord.DNS](t, h, "dns", "list")
	if len(d.Records) != 2 || len(d.Split["corp.example.com"]) != 2 || len(d.Resolvers) != 1 {
		t.Errorf("DNS: %+v", d)
	}

	web(t, node)
	visitor := h.join(t, "two", h.authKey(t))
	conn, err := visitor.Dial(testCtx(t), "tcp", net.JoinHostPort("db", "80"))
	if err != nil {
		t.Fatalf("a record leads to its node: %v", err)
	}
	conn.Close()

	h.refuses(t, exitFailed, "no such record", "dns", "remove", "db", "100.64.9.9")
	h.refuses(t, exitFailed, "no DNS servers", "dns", "unsplit", "example.com")
	h.refuses(t, exitFailed, "no address", "dns", "split", "a.example", "ns1")
	h.refuses(t, exitUsage, "no address", "dns", "add", "db", "one")
	h.refuses(t, exitFailed, "no name", "dns", "add", "..", addr)
	h.says(t, nil, "dns", "remove", "db", addr)
	h.says(t, nil, "dns", "remove", "git.example.com")
	h.says(t, nil, "dns", "unsplit", "corp.example.com")
	h.says(t, []string{"resolve the names of nodes"}, "dns", "resolvers")
}
