package policy_test

import (
	"fmt"
	"net/netip"

	"github.com/meshnet-go/meshnet/internal/policy"
)

func Example() {
	_, err := policy.Parse([]byte(`{
		"groups": {"group:dev": ["alice@example.com"]},
		"acls": [{"action": "accept", "src": ["group:devs"], "dst": ["*:ssh"]}],
	}`))
	fmt.Println(err)

	p, _ := policy.Parse([]byte(`{
		"groups":    {"group:dev": ["alice@example.com"]},
		"tagOwners": {"tag:web": ["group:dev"]},
		"acls":      [{"action": "accept", "src": ["group:dev"], "dst": ["tag:web:22"]}],
		"tests":     [{"src": "alice@example.com", "accept": ["tag:web:22"], "deny": ["tag:web:80"]}],
	}`))
	laptop := policy.Node{ID: 1, User: "alice@example.com", Addrs: []netip.Addr{netip.MustParseAddr("100.64.0.1")}}
	server := policy.Node{ID: 2, Tags: []string{"tag:web"}, Addrs: []netip.Addr{netip.MustParseAddr("100.64.0.2")}}
	fmt.Println(p.Reaches(policy.Flow{From: laptop, To: server, Proto: 6, Port: 80}))

	mesh := p.Compile([]policy.Node{laptop, server})
	fmt.Println(mesh.View(2).Rules())
	fmt.Println(mesh.View(1).Sees(2), mesh.View(2).Sees(1))

	// Output:
	// policy:3:41: the group "group:devs" is not defined under "groups"; did you mean "group:dev"?
	// policy:3:64: "ssh" is no port: ports are 1 to 65535, or "*" for all
	// not allowed: acls[0] (line 4) lets a node of alice@example.com reach a node of tag:web by 22, not by tcp 80
	// [{[100.64.0.1] [{100.64.0.2 {22 22}}] [] []}]
	// true true
}
