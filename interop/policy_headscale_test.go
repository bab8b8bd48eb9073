package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/meshnet-go/meshnet/internal/policy"
)

// TestPolicyFilesMoveToHeadscale gives policy files to ours and to Headscale:
// whoever grows out of our coordinator takes the file along, and a mistake is
// one there and here.
func TestPolicyFilesMoveToHeadscale(t *testing.T) {
	binary, err := headscaleBinary()
	check(t, "Headscale is built", err)
	dir := t.TempDir()

	acl := func(src, dst, proto string) string {
		return `{
			"groups": {"group:dev": ["alice@example.com", "bob@"]},
			"tagOwners": {"tag:web": ["group:dev"]},
			"hosts": {"db": "100.64.0.7", "office": "10.1.0.0/16", "six": "fd7a:115c:a1e0::7"},
			"acls": [{"action": "accept", "proto": "` + proto + `", "src": ["` + src + `"], "dst": ["` + dst + `"]}],
		}`
	}
	for _, test := range []struct {
		name, text string
		good       bool
	}{
		{"all that both have", `
			// comments, and commas behind the last element
			{
				"groups":    {"group:dev": ["alice@example.com", "bob@"],},
				"tagOwners": {"tag:web": ["group:dev", "carol@"], "tag:db": []},
				"hosts":     {"db": "100.64.0.7", "office": "10.1.0.0/16"}, /* in one line */
				"acls": [
					{"action": "accept", "src": ["group:dev"], "proto": "tcp", "dst": ["tag:web:22,80-90", "db:5432"]},
					{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*", "autogroup:internet:*"]},
					{"#why": "routers", "action": "accept", "src": ["tag:web", "*"], "proto": "icmp", "dst": ["office:*", "autogroup:tagged:*"]},
					{"action": "accept", "src": ["100.64.0.9", "fd7a:115c:a1e0::/64"], "proto": "47", "dst": ["10.2.0.0/16:*"]},
				],
				"autoApprovers": {"routes": {"10.0.0.0/8": ["tag:web", "alice@example.com"]}, "exitNode": ["group:dev"]},
			}`, true},
		{"nothing", `{}`, true},
		{"no rules", `{"acls": []}`, true},
		{"an IPv6 address", acl("six", "fd7a:115c:a1e0::7:22", "udp"), true},
		{"autogroup:self of a group", acl("group:dev", "autogroup:self:22", ""), true},

		{"an unknown key", `{"acl": []}`, false},
		{"an action that is none", `{"acls": [{"action": "deny", "src": ["*"], "dst": ["*:*"]}]}`, false},
		{"an undefined group", acl("group:ops", "*:*", ""), false},
		{"an undefined tag", acl("tag:wob", "*:*", ""), false},
		{"an undefined host", acl("nas", "*:*", ""), false},
		{"an autogroup that is none", acl("autogroup:friends", "*:*", ""), false},
		{"autogroup:internet as source", acl("autogroup:internet", "*:*", ""), false},
		{"no ports", acl("*", "tag:web", ""), false},
		{"a port that is none", acl("*", "*:99999", ""), false},
		{"ports backwards", acl("*", "*:90-80", ""), false},
		{"a protocol that is none", acl("*", "*:*", "tpc"), false},
		{"every protocol", acl("*", "*:*", "*"), false},
		{"ports where there are none", acl("*", "*:22", "icmp"), false},
		{"a group in a group", `{"groups": {"group:a": ["b@"], "group:c": ["group:a"]}}`, false},
		{"no JSON", `{"acls": [}`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := policy.Parse([]byte(test.text))
			if good := err == nil; good != test.good {
				t.Errorf("we say: %v", err)
			}
			file := filepath.Join(dir, "policy.json")
			check(t, "the policy is written", os.WriteFile(file, []byte(test.text), 0o600))
			theirs := exec.CommandContext(t.Context(), binary, "policy", "check", "--file", file)
			theirs.Env = []string{"HOME=" + dir}
			output, err := theirs.CombinedOutput()
			if good := err == nil; good != test.good {
				t.Errorf("Headscale says: %v: %s", err, output)
			}
		})
	}
}
