package policy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// maxRules is how many rules a policy may have: each is looked at for every
// node.
const maxRules = 2000

// Parse reads a policy file and runs the tests in it. An error is [Errors],
// and lists all that is wrong.
func Parse(data []byte) (*Policy, error) {
	d := &decoder{complaints: newComplaints(data), p: newPolicy()}
	root, syntax := parseFile(data)
	if syntax != nil {
		d.add(min(syntax.at, len(data)), "%s", syntax.reason)
		return nil, d.err()
	}
	d.file(root)
	if err := d.err(); err != nil {
		return nil, err
	}
	d.p.finish()
	d.runTests()
	if err := d.err(); err != nil {
		return nil, err
	}
	return d.p, nil
}

// decoder makes a policy of a file's values.
type decoder struct {
	*complaints
	p     *Policy
	tests []test
}

// elsewhere are keys of Tailscale's and Headscale's files that have no effect
// here, or none yet.
var elsewhere = map[string]bool{
	"ssh": true, "sshTests": true, "nodeAttrs": true, "postures": true, "defaultSrcPosture": true, "ipsets": true,
	"attrConfig": true, "derpMap": true, "disableIPv4": true, "OneCGNATRoute": true, "randomizeClientPort": true,
	"appConnectors": true, "via": true, "srcPosture": true, "srcPostureAttrs": true,
}

func (d *decoder) file(root value) {
	at := d.fields(root, "a policy", "groups", "tagOwners", "hosts", "acls", "grants", "autoApprovers", "tests")
	// Names first: the rest refers to them.
	for _, m := range at["groups"].members {
		d.p.groups[m.key] = make(map[string]bool)
	}
	for _, m := range at["tagOwners"].members {
		d.p.tagOwners[m.key] = nil
	}
	d.hosts(at["hosts"])
	d.groups(at["groups"])
	d.tagOwners(at["tagOwners"])

	d.rules(at["acls"], "acls", d.acl)
	d.rules(at["grants"], "grants", d.grant)
	if at["acls"].kind == 0 && at["grants"].kind == 0 {
		d.p.allowAll(`the policy has neither "acls" nor "grants"`)
	}
	d.autoApprovers(at["autoApprovers"])
	d.readTests(at["tests"])
}

// members returns those of an object, once each; "#comments" are left out.
func (d *decoder) members(v value, what string) (ms []field) {
	if v.kind == 0 {
		return nil
	}
	if v.kind != '{' {
		d.add(v.at, "%s is an object, and this is %s", what, v.what())
		return nil
	}
	seen := make(map[string]bool)
	for _, m := range v.members {
		switch {
		case d.full():
			return ms
		case strings.HasPrefix(m.key, "#"):
		case seen[m.key]:
			d.add(m.at, "%.80q stands here twice", m.key)
		default:
			seen[m.key] = true
			ms = append(ms, m)
		}
	}
	return ms
}

// fields returns the values of an object that has these keys only. The zero
// value stands for one that is not there.
func (d *decoder) fields(v value, what string, keys ...string) map[string]value {
	values := make(map[string]value)
	for _, m := range d.members(v, what) {
		switch {
		case slices.Contains(keys, m.key):
			values[m.key] = m.value
		case elsewhere[m.key]:
			d.add(m.at, "%q is not supported here", m.key)
		default:
			d.add(m.at, "%s has no %.40q%s", what, m.key, d.meant(m.key, keys))
		}
	}
	return values
}

// meant guesses a key; Tailscale once had other names for two of them.
func (d *decoder) meant(key string, keys []string) string {
	old := map[string]string{"users": "src", "ports": "dst"}
	if now := old[strings.ToLower(key)]; slices.Contains(keys, now) {
		return fmt.Sprintf("; did you mean %q?", now)
	}
	return didYouMean(key, keys)
}

// list returns the elements of a list.
func (d *decoder) list(v value, what string) []value {
	if v.kind != 0 && v.kind != '[' {
		d.add(v.at, "%s is a list, and this is %s", what, v.what())
	}
	return v.elems
}

// texts returns those elements of a list that are strings.
func (d *decoder) texts(v value, what string) (texts []value) {
	for _, e := range d.list(v, what) {
		if d.isText(e, "each of "+what) {
			texts = append(texts, e)
		}
	}
	return texts
}

func (d *decoder) isText(v value, what string) bool {
	if v.kind == '"' {
		return true
	}
	d.add(v.at, "%s is a string, and this is %s", what, v.what())
	return false
}

// selectors reads a list of those that may stand in a role.
func (d *decoder) selectors(v value, what string, r role) (list []selector) {
	for _, text := range d.texts(v, what) {
		if d.full() {
			break
		}
		s, err := d.p.parseSelector(text.text, r)
		if err != nil {
			d.add(text.at, "%v", err)
			continue
		}
		list = append(list, s)
	}
	return list
}

// isName checks the name of a group or tag.
func (d *decoder) isName(m field, prefix string) {
	name, ok := strings.CutPrefix(m.key, prefix)
	if !ok || name == "" || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		d.add(m.at, "%.80q is no name here: it begins with %q, followed by letters, digits and hyphens", m.key, prefix)
	}
}

func (d *decoder) groups(v value) {
	for _, m := range d.members(v, `"groups"`) {
		d.isName(m, "group:")
		for _, text := range d.texts(m.value, "the members of a group") {
			if strings.HasPrefix(text.text, "group:") || strings.HasPrefix(text.text, "tag:") || !strings.Contains(text.text, "@") {
				d.add(text.at, "%.80q is no user: the members of a group are users, name@domain or name@", text.text)
				continue
			}
			name, err := parseUser(text.text)
			if err != nil {
				d.add(text.at, "%v", err)
				continue
			}
			d.p.groups[m.key][name] = true
		}
	}
}

func (d *decoder) tagOwners(v value) {
	for _, m := range d.members(v, `"tagOwners"`) {
		d.isName(m, "tag:")
		d.p.tagOwners[m.key] = d.selectors(m.value, "the owners of a tag", owner)
	}
}

func (d *decoder) hosts(v value) {
	for _, m := range d.members(v, `"hosts"`) {
		if m.key == "" || m.key == "*" || strings.ContainsAny(m.key, "@:/ []") || looksLikeAddress(m.key) {
			d.add(m.at, "%.80q is no name for a host", m.key)
		}
		if !d.isText(m.value, "a host's address") {
			continue
		}
		addrs, err := parseAddresses(m.value.text)
		if err != nil {
			d.add(m.value.at, "%v", err)
		}
		d.p.hosts[m.key] = addrs // wrong or not: whoever refers to it is right
	}
}

// rules reads a list of rules, each by read.
func (d *decoder) rules(v value, section string, read func(value, *rule)) {
	for i, e := range d.list(v, fmt.Sprintf("%q", section)) {
		if d.full() {
			return
		}
		if len(d.p.rules) == maxRules {
			d.add(e.at, "there are more than %d rules", maxRules)
			return
		}
		r := &rule{name: fmt.Sprintf("%s[%d]", section, i), line: d.line(e.at)}
		read(e, r)
		d.p.rules = append(d.p.rules, r)
	}
}

func (d *decoder) acl(v value, r *rule) {
	at := d.fields(v, "a rule", "action", "proto", "src", "dst")
	if action := at["action"]; action.kind != '"' || action.text != "accept" {
		d.add(or(action, v).at, `the action of a rule is "accept": what no rule accepts is refused`)
	}
	r.src = d.sources(v, at["src"])
	protos, ok := d.proto(at["proto"])
	d.need(v, at["dst"], "dst")
	for _, text := range d.texts(at["dst"], "the destinations") {
		if d.full() {
			break
		}
		t, err := d.p.parseTarget(text.text, destination)
		if err == nil && ok {
			err = checkPorts(protos, t.ports)
		}
		if err != nil {
			d.add(text.at, "%v", err)
			continue
		}
		r.dst = append(r.dst, t)
	}
	r.allow = []allow{{protos: protos}}
	d.checkSelf(v, r)
}

// parseTarget reads a destination with its ports.
func (p *Policy) parseTarget(text string, r role) (t target, err error) {
	dest, ports, err := splitPorts(text)
	if err != nil {
		return t, err
	}
	if t.selector, err = p.parseSelector(dest, r); err != nil {
		if _, whole := p.parseSelector(text, r); whole == nil {
			return t, fmt.Errorf(`%.80q has no ports; did you mean %q?`, text, text+":*")
		}
		return t, err
	}
	t.ports, err = parsePorts(ports)
	return t, err
}

func (d *decoder) proto(v value) (protos []int, ok bool) {
	if v.kind == 0 || !d.isText(v, "a protocol") {
		return nil, v.kind == 0
	}
	protos, err := parseProto(v.text)
	if err != nil {
		d.add(v.at, "%v", err)
	}
	return protos, err == nil
}

func (d *decoder) sources(rule, v value) []selector {
	d.need(rule, v, "src")
	return d.selectors(v, "the sources", source)
}

// need complains when a rule lacks a list.
func (d *decoder) need(rule, v value, key string) {
	if v.kind == 0 && rule.kind == '{' || v.kind == '[' && len(v.elems) == 0 {
		d.add(or(v, rule).at, "the rule has nothing in %q", key)
	}
}

// or returns v, or where it is not there what it should stand in.
func or(v, in value) value {
	if v.kind == 0 {
		return in
	}
	return v
}

// checkSelf refuses autogroup:self for sources that have no user.
func (d *decoder) checkSelf(v value, r *rule) {
	if !slices.ContainsFunc(r.dst, func(t target) bool { return t.kind == self }) {
		return
	}
	for _, s := range r.src {
		if s.kind == tag || s.kind == tagged || s.kind == addresses {
			d.add(v.at, "%q has no user, and the destination autogroup:self is that of users", s.String())
			return
		}
	}
}

func (d *decoder) grant(v value, r *rule) {
	at := d.fields(v, "a grant", "src", "dst", "ip", "app")
	r.src = d.sources(v, at["src"])
	d.need(v, at["dst"], "dst")
	for _, s := range d.selectors(at["dst"], "the destinations", destination) {
		r.dst = append(r.dst, target{selector: s})
	}
	if at["ip"].kind == 0 && at["app"].kind == 0 && v.kind == '{' {
		d.add(v.at, `the grant grants nothing: it has neither "ip" nor "app"`)
	}
	for _, text := range d.texts(at["ip"], `"ip"`) {
		a, err := parseAllow(text.text)
		if err != nil {
			d.add(text.at, "%v", err)
			continue
		}
		r.permit(a)
	}
	r.caps = d.caps(at["app"])
	d.checkSelf(v, r)
}

// permit adds a to what r allows, with others of its protocols if there are.
func (r *rule) permit(a allow) {
	i := slices.IndexFunc(r.allow, func(b allow) bool { return slices.Equal(a.protos, b.protos) })
	if i < 0 {
		r.allow = append(r.allow, a)
		return
	}
	r.allow[i].ports = append(r.allow[i].ports, a.ports...)
}

// capMap is app capabilities with their values.
type capMap = map[string][]json.RawMessage

func (d *decoder) caps(v value) capMap {
	caps := make(capMap)
	for _, m := range d.members(v, `"app"`) {
		if !strings.Contains(m.key, "/") {
			d.add(m.at, "%.80q is no capability: its name begins with a domain, example.com/cap/name", m.key)
			continue
		}
		values := []json.RawMessage{} // null would be a capability without values
		for _, e := range d.list(m.value, "what a capability says") {
			values = append(values, e.appendJSON(nil))
		}
		caps[m.key] = values
	}
	if len(caps) == 0 {
		return nil
	}
	return caps
}

func (d *decoder) autoApprovers(v value) {
	at := d.fields(v, `"autoApprovers"`, "routes", "exitNode")
	for _, m := range d.members(at["routes"], "the routes to approve") {
		prefix, err := parseAddresses(m.key)
		if err == nil && prefix.Bits() == 0 {
			err = fmt.Errorf(`%q is the route of exit nodes, which "exitNode" approves`, m.key)
		}
		if err != nil {
			d.add(m.at, "%v", err)
			prefix = netip.Prefix{}
		}
		by := d.selectors(m.value, "the approvers of a route", approves)
		d.p.routes = append(d.p.routes, approver{prefix, by})
	}
	d.p.exitNode = d.selectors(at["exitNode"], "the approvers of exit nodes", approves)
}
