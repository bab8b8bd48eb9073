package dns

import (
	"net/netip"
	"strings"
)

// Limits of RFC 1035, section 2.3.4; a name without the trailing dot and the
// length bytes is two shorter than the 255 given there.
const (
	maxName  = 253
	maxLabel = 63
)

// canonical returns a name in lower case and without the trailing dot. It
// reports false when the name is not one that a host could have.
func canonical(name string) (string, bool) {
	name = strings.TrimSuffix(name, ".")
	if len(name) == 0 || len(name) > maxName {
		return "", false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return "", false
		}
	}
	if isAddr(name) {
		return "", false // a host must not be able to take an address from its owner
	}
	return strings.ToLower(name), true
}

// isAddr reports whether a name of valid labels is an IPv4 address. Only names
// that could be one are parsed, for the error would be an allocation.
func isAddr(name string) bool {
	last := name[len(name)-1]
	if last < '0' || last > '9' {
		return false
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

// validLabel reports whether a label is made of letters, digits, hyphens
// within, and underscores (which RFC 952 forbids, but people use).
func validLabel(label string) bool {
	if len(label) == 0 || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		c := label[i] | 0x20 // letters in lower case
		if !('a' <= c && c <= 'z' || '0' <= label[i] && label[i] <= '9' || label[i] == '-' || label[i] == '_') {
			return false
		}
	}
	return true
}

// SuffixOf returns what follows the first label of a full name, which is the
// suffix of the mesh when the name is one of its hosts'. It is empty when
// there is none.
func SuffixOf(name string) string {
	_, suffix, _ := strings.Cut(strings.TrimSuffix(name, "."), ".")
	return strings.ToLower(suffix)
}
