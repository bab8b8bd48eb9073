package coord

import (
	"strings"
	"testing"
)

func TestLabel(t *testing.T) {
	long := strings.Repeat("a", 62) + "-b"
	for _, c := range []struct{ hostname, want string }{
		{"web", "web"},
		{"Alice's MacBook Pro", "alices-macbook-pro"},
		{"host.example.com", "host-example-com"},
		{"printer.local", "printer"},
		{"box.home.arpa", "box"},
		{"--web--", "web"},
		{"a_b@c", "a-b-c"},
		{"", "node"},
		{"日本", "node"},
		{"日本-1", "1"},
		{"localhost", "node"},
		{long, long[:62]},
		{"\x00\xff\"<script>", "script"},
	} {
		got := label(c.hostname)
		if got != c.want {
			t.Errorf("label(%q) = %q, want %q", c.hostname, got, c.want)
		}
		if label(got) != got {
			t.Errorf("label(%q) is not a label: of it label makes %q", got, label(got))
		}
	}
}

func TestUniqueName(t *testing.T) {
	s := testState()
	long := strings.Repeat("x", maxLabel)
	for _, c := range []struct{ wanted, want string }{
		{"web", "web"},
		{"web", "web-1"},
		{"web-1", "web-1-1"},
		{"web", "web-2"},
		{long, long},
		{long, long[:maxLabel-2] + "-1"},
	} {
		if n := s.join(t, c.wanted); n.Name != c.want {
			t.Errorf("a node that wants %q got %q, want %q", c.wanted, n.Name, c.want)
		}
	}
}
