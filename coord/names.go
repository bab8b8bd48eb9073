package coord

import (
	"strconv"
	"strings"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// maxLabel is the longest label DNS allows (RFC 1035, section 2.3.4).
const maxLabel = 63

// nameless is the label of a node that calls itself nothing.
const nameless = "node"

// label makes a DNS label of what a machine calls itself: letters, digits and
// inner hyphens, in lower case. It is never empty.
func label(hostname string) string {
	hostname = strings.ToLower(hostname)
	for _, suffix := range []string{".local", ".localdomain", ".lan", ".home.arpa"} {
		hostname = strings.TrimSuffix(hostname, suffix)
	}
	var b strings.Builder
	for _, r := range hostname {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			b.WriteRune(r)
		case strings.ContainsRune("-._ @", r):
			b.WriteByte('-')
		}
	}
	name := trimLabel(b.String(), maxLabel)
	if name == "" || name == "localhost" { // nobody means another machine by it
		return nameless
	}
	return strings.Clone(name) // which may be little of b
}

// trimLabel cuts name to a label of at most limit bytes.
func trimLabel(name string, limit int) string {
	name = strings.TrimLeft(name, "-")
	return strings.TrimRight(name[:min(len(name), limit)], "-")
}

// uniqueName returns wanted, or where another node than self has it, the first
// of wanted-1, wanted-2, … that is free.
func (s *state) uniqueName(wanted string, self tailcfg.NodeID) string {
	taken := func(name string) bool {
		id, ok := s.byName[name]
		return ok && id != self
	}
	name := wanted
	for i := 1; taken(name); i++ {
		suffix := "-" + strconv.Itoa(i)
		name = trimLabel(wanted, maxLabel-len(suffix)) + suffix
	}
	return name
}
