package web

import (
	"strings"
	"testing"
	"time"
)

func TestSession(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := Secrets{Hash: HashSecret("secret"), Key: []byte(strings.Repeat("k", 32))}
	text := s.newSession(now.Add(time.Hour))
	changed := []byte(text)
	changed[0]++
	for _, c := range []struct {
		what    string
		secrets Secrets
		text    string
		at      time.Duration
		good    bool
	}{
		{"a session", s, text, 0, true},
		{"its last second", s, text, time.Hour - time.Second, true},
		{"one that has ended", s, text, time.Hour, false},
		{"one that ends too late", s, s.newSession(now.Add(100 * time.Hour)), 0, false},
		{"another end", s, string(changed), 0, false},
		{"a part", s, text[:20], 0, false},
		{"nothing", s, "", 0, false},
		{"after another secret was made", Secrets{Hash: HashSecret("new"), Key: s.Key}, text, 0, false},
		{"with another key", Secrets{Hash: s.Hash, Key: []byte("x")}, text, 0, false},
		{"signed without a key", Secrets{}, Secrets{}.newSession(now.Add(time.Hour)), 0, false},
	} {
		if got := c.secrets.session(c.text, now.Add(c.at)); got != c.good {
			t.Errorf("%s: good %v", c.what, got)
		}
	}
	if !s.knows("secret") || s.knows("") || s.knows("Secret") || (Secrets{}).knows("") {
		t.Error("the secret is not known, or another is")
	}
}

func TestSafeBack(t *testing.T) {
	for back, want := range map[string]string{
		"/login/ABC":              "/login/ABC",
		"/admin/node/7":           "/admin/node/7",
		"/admin/":                 "/admin/",
		"":                        "/admin/",
		"https://evil.example/":   "/admin/",
		"//evil.example/login/x":  "/admin/",
		`/\evil.example`:          "/admin/",
		"/login/../../x":          "/admin/",
		"/login/x\r\nX: y":        "/admin/",
		"javascript:alert(1)":     "/admin/",
		"/login/x?y=https://evil": "/login/x",
	} {
		if got := safeBack(back); got != want {
			t.Errorf("safeBack(%q) = %q, want %q", back, got, want)
		}
	}
}

func FuzzSafeBack(f *testing.F) {
	f.Add("/login/x")
	f.Add("//x/login/")
	f.Fuzz(func(t *testing.T, back string) {
		got := safeBack(back)
		if !strings.HasPrefix(got, "/login/") && !strings.HasPrefix(got, "/admin/") || strings.ContainsAny(got, "\\\r\n") {
			t.Errorf("safeBack(%q) = %q", back, got)
		}
	})
}

func FuzzSession(f *testing.F) {
	s := Secrets{Hash: HashSecret("secret"), Key: []byte("key")}
	now := time.Unix(1_800_000_000, 0)
	f.Add("AAAAAGtJ0gA")
	f.Fuzz(func(t *testing.T, text string) {
		if s.session(text, now) {
			t.Errorf("%q is a session", text)
		}
	})
}

func TestAgo(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for d, want := range map[time.Duration]string{
		time.Second: "just now", time.Minute: "1 minute ago", 59 * time.Minute: "59 minutes ago",
		time.Hour: "1 hour ago", 47 * time.Hour: "47 hours ago", 48 * time.Hour: "2 days ago",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if got := ago(now, time.Time{}); got != "never" {
		t.Errorf("no time: %s", got)
	}
}
