package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// parse returns the policy of a text that must be right.
func parse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("the policy is refused:\n%v", err)
	}
	return p
}

const everything = `
// A policy of all that there is.
{
	"groups": {"group:dev": ["alice@example.com", "bob@"], "group:none": [],},
	/* tags
	   and their owners */
	"tagOwners": {
		"tag:web": ["group:dev"],
		"tag:ci":  ["tag:web", "carol@", "autogroup:admin"],
		"tag:db":  [],
		"tag:a":   ["tag:b"], "tag:b": ["tag:a"], // a circle
	},
	"hosts": {"db": "100.64.0.7", "office": "10.1.0.0/16", "six": "fd7a:115c:a1e0::7"},
	"acls": [
		{"action": "accept", "src": ["group:dev"], "proto": "tcp", "dst": ["tag:web:22,80-90", "db:5432"]},
		{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*", "autogroup:internet:*"]},
		{"action": "accept", "src": ["*"], "proto": "icmp", "dst": ["*:*"], "#why": "pings"},
		{"action": "accept", "src": ["carol@"], "dst": ["[fd7a:115c:a1e0::9]:22", "fd7a:115c:a1e0::8:22"]},
	],
	"grants": [
		{"src": ["tag:ci"], "dst": ["office"], "ip": ["tcp:443", "tcp:8000-8100", "udp:53", "icmp:*", "47:*"]},
		{"src": ["group:dev"], "dst": ["tag:web"], "app": {"example.com/cap/admin": [{"role": "owner" /* yes */,}, 1]}},
	],
	"autoApprovers": {
		"routes": {"10.0.0.0/8": ["tag:web"], "192.168.1.0/24": ["alice@example.com", "group:dev"]},
		"exitNode": ["group:dev"],
	},
	"tests": [
		{"src": "alice@example.com", "proto": "tcp", "accept": ["tag:web:22", "db:5432", "autogroup:self:1"], "deny": ["tag:web:23", "bob@:22"]},
		{"src": "bob@", "accept": ["tag:web:85", "autogroup:internet:443", "8.8.8.8:53", "bob@:22"], "deny": ["tag:db:85", "10.1.2.3:443"]},
		{"src": "tag:ci", "accept": ["office:443", "10.1.2.3:8050", "10.1.2.0/24:53"], "deny": ["office:444", "10.2.0.1:443", "autogroup:self:22"]},
		{"src": "tag:ci", "proto": "udp", "accept": ["office:53"], "deny": ["office:443"]},
		{"src": "group:dev", "proto": "icmp", "accept": ["tag:db:*"]},
		{"src": "tag:ci", "proto": "gre", "accept": ["office:*"], "deny": ["db:*"]},
		{"src": "autogroup:member", "accept": ["8.8.8.8:443"], "deny": ["db:5432"]},
		{"src": "carol@", "accept": ["fd7a:115c:a1e0::9:22", "[fd7a:115c:a1e0::8]:22"], "deny": ["six:22"]},
		{"src": "100.64.0.99", "deny": ["db:5432"]},
	],
}
`

func TestParseTakesEverything(t *testing.T) {
	p := parse(t, everything)
	if why, ok := p.AllowsAll(); ok {
		t.Errorf("a policy with rules says %q", why)
	}
	if got := string(p.rules[5].caps["example.com/cap/admin"][0]); got != `{"role":"owner"}` {
		t.Errorf("the capability says %s", got)
	}
	if p.rules[0].line != 15 {
		t.Errorf("the first rule stands on line %d", p.rules[0].line)
	}
}

func TestParseComplainsWithPlaceAndReason(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string // "line:column: part of the reason"
	}{
		{"no text", ``, []string{"1:1: the file ends where a value"}},
		{"no object", `[]`, []string{"1:1: a policy is an object, and this is a list"}},
		{"no end", "{\n \"acls\": [\n", []string{"3:1: the file ends"}},
		{"a missing comma", "{\"hosts\": {}\n\"acls\": []}", []string{`2:1: a comma or '}' should`}},
		{"no key", `{1: 2}`, []string{"1:2: a key in quotes"}},
		{"no colon", `{"acls" []}`, []string{"1:9: a colon should follow the key \"acls\""}},
		{"a comment without end", "{} /* ", []string{"1:4: this comment has no end"}},
		{"half a comment", "{} / ", []string{"1:4: a comment begins with"}},
		{"two values", `{} {}`, []string{"1:4: something follows"}},
		{"a string without end", "{\"acls: []\n}", []string{"1:2: this string does not end in its line"}},
		{"a word that is none", `{"acls": yes}`, []string{`1:10: "yes" is no value`}},
		{"a sign that is none", `{"acls": é}`, []string{`1:10: 'é' is no value`}},
		{"no UTF-8", "{}\n\xff", []string{"2:1: this is not UTF-8"}},
		{"columns are characters", `/* ünïcödé */ {"x": 1}`, []string{`1:16: a policy has no "x"`}},
		{"depth", strings.Repeat("[", 100), []string{"1:34: values stand within values more than 32 deep"}},
		{"too many values", `{"a":[` + strings.Repeat("0,", maxValues) + `]}`, []string{":200003: the file has more than 100000 values"}},
		{"too long", strings.Repeat(" ", maxFile+1), []string{":1048577: the file has 1048577 bytes, and may have 1048576"}},

		{"an unknown key", `{"acl": []}`, []string{`1:2: a policy has no "acl"; did you mean "acls"?`}},
		{"case counts", `{"tagowners": {}}`, []string{`did you mean "tagOwners"?`}},
		{"a key twice", `{"acls": [], "acls": []}`, []string{`1:14: "acls" stands here twice`}},
		{"not here", `{"ssh": [], "nodeAttrs": []}`, []string{`1:2: "ssh" is not supported here`, `1:13: "nodeAttrs"`}},
		{"wrong kinds", `{"groups": [], "hosts": 1, "acls": {}, "tests": null}`, []string{`1:12: "groups" is an object, and this is a list`, `1:25: "hosts"`, `1:36: "acls" is a list`, `1:49: "tests" is a list, and this is null`}},

		{"bad groups", `{"groups": {"dev": [], "group:x": ["alice", "group:y", 1, "*@x"]}}`,
			[]string{`1:13: "dev" is no name`, `1:36: "alice" is no user`, `1:45: "group:y" is no user`, `1:56: each of the members of a group is a string, and this is a number`, `1:59: "*@x" is no user`}},
		{"bad owners", `{"tagOwners": {"tag:": [], "tag:x": ["*", "tag:y", "100.64.0.1"]}}`,
			[]string{`1:16: "tag:" is no name`, `1:38: "*" cannot be an owner`, `1:43: the tag "tag:y" is not defined under "tagOwners"; `, `1:52: "100.64.0.1" cannot`}},
		{"bad hosts", `{"hosts": {"a@b": "100.64.0.1", "x": "10.0.0.1/8", "y": "web", "z": 1, "1.2.3.4": "1.2.3.4"}}`,
			[]string{`1:12: "a@b" is no name`, `1:38: the prefix "10.0.0.1/8" has bits behind its length; did you mean "10.0.0.0/8"?`, `1:57: "web" is no address`, `1:69: a host's address is a string`, `1:72: "1.2.3.4" is no name`}},

		{"a rule of nothing", `{"acls": [{}]}`, []string{`1:11: the action`, `1:11: the rule has nothing in "src"`, `1:11: the rule has nothing in "dst"`}},
		{"deny is no action", `{"acls": [{"action": "deny", "src": ["*"], "dst": ["*:*"]}]}`, []string{`1:22: the action of a rule is "accept"`}},
		{"old names", `{"acls": [{"action": "accept", "Users": ["*"], "ports": ["*:*"]}]}`, []string{"", "", `a rule has no "Users"; did you mean "src"?`, `did you mean "dst"?`}},
		{"undefined names", `{"groups": {"group:devs": []}, "tagOwners": {"tag:web": []}, "hosts": {"nas": "100.64.0.1"},
"acls": [{"action": "accept", "src": ["group:dev", "web", "bob"], "dst": ["nass:22", "tag:wob:22", "autogroup:selv:*"]}]}`,
			[]string{`2:39: the group "group:dev" is not defined under "groups"; did you mean "group:devs"?`,
				`2:52: "web" is not defined under "hosts"; did you mean "tag:web"?`,
				`2:59: "bob" is not defined under "hosts" (a user has an @: "bob@")`,
				`2:75: "nass" is not defined under "hosts"; did you mean "nas"?`,
				`2:86: the tag "tag:wob" is not defined`,
				`2:100: there is no "autogroup:selv"; did you mean "self"?`}},
		{"bad destinations", `{"tagOwners": {"tag:web": []}, "acls": [{"action": "accept", "src": ["*"], "dst": ["*", "tag:web", "*:", "*:99999", "*:0", "*:9-8", "*:a"]}]}`,
			[]string{`"*" has no ports`, `"tag:web" has no ports; did you mean "tag:web:*"?`, `"*:" has no ports`, `"99999" is no port`, `"0" is no port`, `no ports from 9 to 8`, `"a" is no port`}},
		{"bad protocols", `{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:22"], "proto": "tpc"}, {"action": "accept", "src": ["*"], "dst": ["*:22"], "proto": "icmp"}, {"action": "accept", "src": ["*"], "dst": ["*:*"], "proto": "256"}]}`,
			[]string{`"tpc" is no protocol; did you mean`, `only tcp, udp and sctp have ports`, `"256" is no protocol: numbers`}},
		{"places of autogroups", `{"acls": [{"action": "accept", "src": ["autogroup:self", "autogroup:internet", "autogroup:shared"], "dst": ["*:*"]}]}`,
			[]string{`"autogroup:self" cannot be a source`, `"autogroup:internet" cannot be a source`, `"autogroup:shared" is not supported here`}},
		{"self of what has no user", `{"tagOwners": {"tag:web": []}, "acls": [{"action": "accept", "src": ["tag:web"], "dst": ["autogroup:self:*"]}]}`,
			[]string{`"tag:web" has no user`}},
		{"bad grants", `{"grants": [{"src": ["*"], "dst": ["*"]}, {"src": ["*"], "dst": ["*"], "ip": ["tcp", "80,90", ":1", "gre:1"], "via": []}, {"src": ["*"], "dst": ["*"], "app": {"admin": [], "x.y/z": 1}}]}`,
			[]string{`the grant grants nothing`, `"tcp" has no ports; did you mean "tcp:*"?`, `"80,90" has a comma`, `":1" has no protocol`, `only tcp`, `"via" is not supported here`, `"admin" is no capability`, `what a capability says is a list`}},
		{"bad approvers", `{"autoApprovers": {"routes": {"0.0.0.0/0": [], "x": ["*"]}, "exitNode": ["tag:x"], "exit": []}}`,
			[]string{`"0.0.0.0/0" is the route of exit nodes`, `"x" is no address`, `"*" cannot be an approver`, `the tag "tag:x" is not`, `"autoApprovers" has no "exit"`}},
		{"bad tests", `{"acls": [], "tests": [{}, {"src": "*", "accept": ["100.64.0.1:22-23", "100.64.0.1:*"]}, {"src": "a@", "proto": "x", "deny": ["*:22"]}]}`,
			[]string{`the test has no "src"`, `the test says nothing`, `"*" cannot be the source of a test`, `one port`, `one port`, `"x" is no protocol`, `"*" cannot be a destination of a test`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := Parse([]byte(test.text))
			var errs Errors
			if p != nil || !errors.As(err, &errs) {
				t.Fatalf("got policy %v and error %v", p, err)
			}
			if len(errs) != len(test.want) {
				t.Fatalf("got %d errors, want %d:\n%v", len(errs), len(test.want), err)
			}
			for i, want := range test.want {
				if got := errs[i].Error(); !strings.Contains(got, want) {
					t.Errorf("error %d is\n%s\nnot\n%s", i, got, want)
				}
			}
		})
	}
}

func TestErrorsAreBounded(t *testing.T) {
	_, err := Parse([]byte(`{"acls": [` + strings.Repeat("1,", 500) + `]}`))
	if errs := err.(Errors); len(errs) != maxErrors+1 || !strings.Contains(errs[maxErrors].Reason, "may be more") {
		t.Errorf("got %d errors, the last of them %v", len(errs), errs[len(errs)-1])
	}
	var hosts strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&hosts, `"%060d": "::1",`, i)
	}
	_, err = Parse([]byte(`{"hosts": {` + hosts.String() + `}, "acls": [{"action": "accept", "src": [` + strings.Repeat(`"`+strings.Repeat("x", 60)+`",`, 2000) + `], "dst": ["*:1"]}]}`))
	if errs := err.(Errors); len(errs) != maxErrors+1 {
		t.Errorf("got %d errors", len(errs))
	}
	_, err = Parse([]byte(`{"acls": [` + strings.Repeat(`{"action":"accept","src":["*"],"dst":["*:1"]},`, maxRules+1) + `]}`))
	if err == nil || !strings.Contains(err.Error(), "more than 2000 rules") {
		t.Errorf("too many rules: %v", err)
	}
	_, err = Parse([]byte(`{"acls": [` + strings.Repeat(`{"action":"accept","src":["a@"],"dst":["b@:1"]},`, maxRules) + `],
		"tests": [` + strings.Repeat(`{"src":"c@","deny":["b@:1"]},`, 6000) + `]}`))
	if err == nil || !strings.Contains(err.Error(), "compare more than") {
		t.Errorf("tests that take for ever: %v", err)
	}
}

func TestTestsInTheFile(t *testing.T) {
	const rules = `{
	"groups": {"group:dev": ["alice@", "bob@"]}, "tagOwners": {"tag:web": []},
	"acls": [{"action": "accept", "src": ["alice@"], "proto": "tcp", "dst": ["tag:web:22"]}],
	"tests": [
`
	for _, test := range []struct{ entry, want string }{
		{`{"src": "alice@", "accept": ["tag:web:22"]}`, ""},
		{`{"src": "ALICE@", "deny": ["tag:web:23"]}`, ""},
		{`{"src": "alice@", "accept": ["tag:web:23"]}`,
			`5:30: alice@ to tag:web:23 is not allowed: acls[0] (line 3) lets a node of alice reach a node of tag:web by tcp 22, not by tcp 23; the test wants it accepted`},
		{`{"src": "alice@", "deny": ["tag:web:22"]}`,
			`5:28: alice@ to tag:web:22 is allowed: acls[0] (line 3) lets a node of alice reach a node of tag:web; the test wants it denied`},
		{`{"src": "group:dev", "accept": ["tag:web:22"]}`, `no rule has a node of bob as a source`},
		{`{"src": "group:dev", "deny": ["tag:web:22"]}`, `lets a node of alice reach`},
		{`{"src": "alice@", "proto": "udp", "accept": ["tag:web:22"]}`, `not by udp 22`},
		{`{"src": "alice@", "accept": ["bob@:22"]}`, `of the 1 rules that have a node of alice as a source, none has a node of bob as a destination`},
		{`{"src": "alice@", "accept": ["autogroup:internet:22"]}`, `none has the internet as a destination`},
	} {
		_, err := Parse([]byte(rules + test.entry + "]}"))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\ngot:  %v\nwant: %s", test.entry, err, test.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	for _, test := range []struct {
		p    *Policy
		want string
	}{
		{AllowAll(), "every node may reach every other: there is no policy"},
		{parse(t, `{}`), `every node may reach every other: the policy has neither "acls" nor "grants"`},
		{parse(t, `{"acls": []}`), ""},
		{parse(t, `{"grants": []}`), ""},
	} {
		why, all := test.p.AllowsAll()
		if why != test.want || all != (test.want != "") {
			t.Errorf("got %q, want %q", why, test.want)
		}
		reached := test.p.Reaches(Flow{From: Node{Addrs: addrs("100.64.0.1")}, To: Node{Addrs: addrs("100.64.0.2")}, Proto: 6, Port: 22}).Allowed
		if reached != all {
			t.Errorf("%q: reached: %v", test.want, reached)
		}
	}
}

func TestWhoMayTag(t *testing.T) {
	p := parse(t, everything)
	for _, test := range []struct {
		node Node
		tag  string
		want bool
	}{
		{Node{User: "alice@example.com"}, "tag:web", true},
		{Node{User: "Bob@"}, "tag:web", true},
		{Node{User: "bob"}, "tag:ci", true}, // owns tag:web, which owns it
		{Node{User: "carol"}, "tag:ci", true},
		{Node{User: "carol"}, "tag:web", false},
		{Node{User: "carol", Admin: true}, "tag:web", true},
		{Node{User: "carol", Admin: true}, "tag:nowhere", false},
		{Node{Tags: []string{"tag:web"}}, "tag:ci", true},
		{Node{Tags: []string{"tag:ci"}}, "tag:web", false},
		{Node{Tags: []string{"tag:ci"}, User: "bob"}, "tag:web", false}, // a tagged node has no user
		{Node{User: "dave"}, "tag:a", false},
		{Node{Tags: []string{"tag:b"}}, "tag:a", true},
	} {
		if got := p.MayTag(test.node, test.tag); got != test.want {
			t.Errorf("%+v, %s: %v", test.node, test.tag, got)
		}
	}
	if AllowAll().MayTag(Node{User: "x", Admin: true}, "tag:web") || !p.HasTag("tag:db") || p.HasTag("tag:x") {
		t.Error("tags are those of the policy")
	}
}

func TestAutoApproves(t *testing.T) {
	p := parse(t, everything)
	web, alice, carol := Node{Tags: []string{"tag:web"}}, Node{User: "alice@example.com"}, Node{User: "carol"}
	for _, test := range []struct {
		node  Node
		route string
		want  bool
	}{
		{web, "10.0.0.0/8", true},
		{web, "10.1.2.0/24", true},
		{web, "0.0.0.0/0", false},
		{web, "8.0.0.0/6", false},
		{web, "192.168.1.0/24", false},
		{alice, "192.168.1.128/25", true},
		{alice, "192.168.0.0/23", false},
		{alice, "0.0.0.0/0", true},
		{alice, "::/0", true},
		{alice, "fd00::/64", false},
		{carol, "0.0.0.0/0", false},
	} {
		if got := p.AutoApproves(test.node, netip.MustParsePrefix(test.route)); got != test.want {
			t.Errorf("%+v, %s: %v", test.node, test.route, got)
		}
	}
	if p.AutoApproves(alice, netip.Prefix{}) {
		t.Error("no route is approved")
	}
}

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(`{"acls":[{"action":"accept","src":["*"],"dst":["*:*"]}]}`))
	f.Add([]byte("{\"a\\u0000\": [1e9, -0, true, null, \"\\ud800\"], /* */ // \n}"))
	nodes := []Node{
		{ID: 1, User: "alice@example.com", Addrs: addrs("100.64.0.1", "fd7a:115c:a1e0::1")},
		{ID: 2, Tags: []string{"tag:web"}, Addrs: addrs("100.64.0.7"), Routes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if (p == nil) != (err != nil) {
			t.Fatal("neither policy nor error, or both")
		}
		if err != nil {
			for _, e := range err.(Errors) {
				if e.Line < 1 || e.Column < 1 || e.Reason == "" {
					t.Fatalf("the error has no place: %+v", e)
				}
			}
			return
		}
		c := p.Compile(nodes)
		c.View(1).Rules()
		c.View(2).Rules()
		p.MayTag(nodes[0], "tag:web")
	})
}
