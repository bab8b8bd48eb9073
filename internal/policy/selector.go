package policy

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// selector is a source or a destination as a policy writes it.
type selector struct {
	kind   kind
	name   string       // of a user, group or tag
	prefix netip.Prefix // of addresses
}

type kind uint8

const (
	everyone kind = iota
	user
	group
	tag
	addresses
	member
	tagged
	admin
	self
	internet
)

func (s selector) String() string {
	switch s.kind {
	case everyone:
		return "*"
	case addresses:
		if s.prefix.IsSingleIP() {
			return s.prefix.Addr().String()
		}
		return s.prefix.String()
	case member:
		return "autogroup:member"
	case tagged:
		return "autogroup:tagged"
	case admin:
		return "autogroup:admin"
	case self:
		return "autogroup:self"
	case internet:
		return "autogroup:internet"
	default:
		return s.name
	}
}

// A role is where a selector stands. What each may be is in allowed.
type role uint8

const (
	source role = iota
	destination
	owner    // of a tag
	approves // of routes
	tested   // the source of a test
	testedAt // its destinations
)

func (r role) String() string {
	return [...]string{"a source", "a destination", "an owner of a tag", "an approver of routes", "the source of a test", "a destination of a test"}[r]
}

func (r role) allows(k kind) bool {
	switch r {
	case source:
		return k != self && k != internet
	case destination:
		return true
	case owner, approves:
		return k == user || k == group || k == tag || k == member || k == admin || k == tagged && r == approves
	case tested:
		return k == user || k == group || k == tag || k == addresses || k == member
	default:
		return k != everyone && k != tagged && k != admin
	}
}

// parseSelector reads what may stand in a role.
func (p *Policy) parseSelector(text string, r role) (selector, error) {
	s, err := p.parseAny(text)
	if err == nil && !r.allows(s.kind) {
		err = fmt.Errorf("%.80q cannot be %v", text, r)
	}
	return s, err
}

func (p *Policy) parseAny(text string) (selector, error) {
	prefix, rest, _ := strings.Cut(text, ":")
	switch {
	case text == "*":
		return selector{kind: everyone}, nil
	case prefix == "autogroup":
		return parseAutogroup(rest)
	case prefix == "group":
		return selector{kind: group, name: text}, defined("group", text, p.groups)
	case prefix == "tag":
		return selector{kind: tag, name: text}, defined("tag", text, p.tagOwners)
	case slices.Contains([]string{"user", "svc", "ipset", "posture", "domain", "srcPosture"}, prefix):
		return selector{}, fmt.Errorf("%.80q: %q is not supported here", text, prefix+":")
	case strings.Contains(text, "@"):
		name, err := parseUser(text)
		return selector{kind: user, name: name}, err
	}
	if host, ok := p.hosts[text]; ok {
		return selector{kind: addresses, prefix: host}, nil
	}
	if looksLikeAddress(text) {
		addrs, err := parseAddresses(text)
		return selector{kind: addresses, prefix: addrs}, err
	}
	return selector{}, p.undefinedHost(text)
}

func (p *Policy) undefinedHost(text string) error {
	if text == "" {
		return errors.New("the name is empty")
	}
	for _, as := range []struct {
		form    string
		defined bool
	}{{"group:" + text, p.groups["group:"+text] != nil}, {"tag:" + text, p.hasTag("tag:" + text)}} {
		if as.defined {
			return fmt.Errorf("%.80q is not defined under \"hosts\"; did you mean %q?", text, as.form)
		}
	}
	if hint := didYouMean(text, sortedKeys(p.hosts)); hint != "" {
		return fmt.Errorf("%.80q is not defined under \"hosts\"%s", text, hint)
	}
	return fmt.Errorf("%.80q is not defined under \"hosts\" (a user has an @: %q)", text, text+"@")
}

func (p *Policy) hasTag(name string) bool { _, ok := p.tagOwners[name]; return ok }

// defined checks that a group or tag is.
func defined[V any](what, name string, in map[string]V) error {
	if _, ok := in[name]; ok {
		return nil
	}
	section := map[string]string{"group": "groups", "tag": "tagOwners"}[what]
	return fmt.Errorf("the %s %.80q is not defined under %q%s", what, name, section, didYouMean(name, sortedKeys(in)))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func parseAutogroup(name string) (selector, error) {
	known := map[string]kind{
		"member": member, "members": member, "tagged": tagged, "self": self, "internet": internet,
		"admin": admin, "owner": admin,
	}
	if k, ok := known[name]; ok {
		return selector{kind: k}, nil
	}
	foreign := []string{"shared", "danger-all", "nonroot", "it-admin", "network-admin", "billing-admin", "auditor"}
	if slices.Contains(foreign, name) {
		return selector{}, fmt.Errorf("\"autogroup:%s\" is not supported here", name)
	}
	return selector{}, fmt.Errorf("there is no \"autogroup:%.40s\"%s", name, didYouMean(name, sortedKeys(known)))
}

// parseUser returns the login in the form in which it is compared.
func parseUser(text string) (string, error) {
	if name, _, _ := strings.Cut(text, "@"); name == "" || name == "*" || strings.ContainsAny(text, " \t*:,") {
		return "", fmt.Errorf("%.80q is no user: a user is name@domain, or name@", text)
	}
	return login(text), nil
}

// looksLikeAddress tells what should be an address from names.
func looksLikeAddress(text string) bool {
	return strings.Contains(text, ":") || text != "" && strings.Trim(text, "0123456789./-") == ""
}

// parseAddresses reads an address or a prefix.
func parseAddresses(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		if addr.Zone() != "" || addr.Is4In6() {
			return netip.Prefix{}, fmt.Errorf("%.80q is no address of a mesh", text)
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%.80q is no address and no prefix", text)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("the prefix %q has bits behind its length; did you mean %q?", text, p.Masked().String())
	}
	return p, nil
}

// splitPorts splits a destination with ports, "tag:web:22,80-90", at the last
// colon. An IPv6 address may stand in brackets.
func splitPorts(text string) (dest, ports string, err error) {
	i := strings.LastIndexByte(text, ':')
	if i <= 0 || i == len(text)-1 {
		return "", "", fmt.Errorf(`%.80q has no ports: a destination is "name:ports", with ports like 22, 80-90 or *`, text)
	}
	dest, ports = text[:i], text[i+1:]
	if inside, ok := strings.CutPrefix(dest, "["); ok {
		if addr, ok := strings.CutSuffix(inside, "]"); ok && strings.Contains(addr, ":") {
			return addr, ports, nil
		}
	}
	return dest, ports, nil
}
