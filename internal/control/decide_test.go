package control

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

func TestAfterRegister(t *testing.T) {
	type resp = tailcfg.RegisterResponse
	unreachable := errors.New("unreachable")
	status := func(code int, wait time.Duration) error {
		return fmt.Errorf("registering: %w", &statusError{code: code, retryAfter: wait})
	}
	for _, tt := range []struct {
		name     string
		resp     *resp
		err      error
		followup string
		want     string
	}{
		{"taken in", &resp{}, nil, "", "follow, registered"},
		{"approval pending", &resp{MachineAuthorized: false}, nil, "", "follow, registered"},
		{"taken in after a visit", &resp{}, nil, "u", "follow, registered"},
		{"visit wanted", &resp{AuthURL: "u"}, nil, "", "enrol for u, show u"},
		{"visit still wanted", &resp{AuthURL: "u"}, nil, "u", "enrol for u after a pause"},
		{"another visit wanted", &resp{AuthURL: "v"}, nil, "u", "enrol for v after a pause, show v"},
		{"refused", &resp{Error: "no", NodeKeyExpired: true, AuthURL: "u"}, nil, "u", `over, error the coordinator refuses this node: "no"`},
		{"locked", &resp{NodeKeySignature: []byte{1}, NodeKeyExpired: true}, nil, "", "over, error " + ErrTailnetLock.Error()},
		{"expired", &resp{NodeKeyExpired: true, AuthURL: "u"}, nil, "", "over, error " + ErrNodeKeyExpired.Error()},
		{"unreachable", nil, unreachable, "", "enrol after a pause, error unreachable"},
		{"unreachable while waiting", nil, unreachable, "u", "enrol for u after a pause, error unreachable"},
		{"unauthorized", nil, status(401, 0), "", `over, error the coordinator refuses this node: "401 Unauthorized"`},
		{"visit forgotten", nil, status(404, 0), "u", "enrol after a pause, error registering: the coordinator answers 404 Not Found"},
		{"too many", nil, status(429, 0), "", "enrol after a pause of 10s, error registering: the coordinator answers 429 Too Many Requests"},
		{"too many while waiting", nil, status(429, time.Minute), "u", "enrol for u after a pause of 1m0s, error registering: the coordinator answers 429 Too Many Requests"},
		{"fails", nil, status(500, 0), "", "enrol after a pause, error registering: the coordinator answers 500 Internal Server Error"},
		{"unavailable", nil, status(503, time.Second), "", "enrol after a pause of 1s, error registering: the coordinator answers 503 Service Unavailable"},
		{"moved", nil, status(301, 0), "", "enrol after a pause, error registering: the coordinator answers 301 Moved Permanently"},
		{"strange", nil, status(999, 0), "", "enrol after a pause, error registering: the coordinator answers 999"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := describe(afterRegister(tt.resp, tt.err, tt.followup)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestAfterStream(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errSilent, "follow after a pause, error nothing came for 2m0s"},
		{&statusError{code: 400}, "enrol after a pause, error the coordinator answers 400 Bad Request"},
		{&statusError{code: 404, text: "who?"}, `enrol after a pause, error the coordinator answers 404 Not Found: "who?"`},
		{&statusError{code: 408}, "follow after a pause, error the coordinator answers 408 Request Timeout"},
		{&statusError{code: 429}, "follow after a pause of 10s, error the coordinator answers 429 Too Many Requests"},
		{&statusError{code: 502}, "follow after a pause, error the coordinator answers 502 Bad Gateway"},
	} {
		if got := describe(afterStream(tt.err)); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// describe puts a verdict into words.
func describe(v verdict) string {
	var b strings.Builder
	b.WriteString([]string{enrol: "enrol", follow: "follow", over: "over"}[v.next])
	if v.followup != "" {
		b.WriteString(" for " + v.followup)
	}
	if v.pause {
		b.WriteString(" after a pause")
	}
	if v.wait > 0 {
		b.WriteString(" of " + v.wait.String())
	}
	switch ev := v.event; {
	case ev.Registered != nil:
		b.WriteString(", registered")
	case ev.AuthURL != "":
		b.WriteString(", show " + ev.AuthURL)
	case ev.Err != nil:
		b.WriteString(", error " + ev.Err.Error())
	}
	return b.String()
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                         0,
		"7":                        7 * time.Second,
		"-7":                       0,
		"abc":                      0,
		"100000000000000000000000": 0,
		"86400":                    maxRetryAfter,
		now.Add(9 * time.Second).Format(http.TimeFormat): 9 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):      0,
		now.Add(time.Hour).Format(http.TimeFormat):       maxRetryAfter,
	} {
		if got := parseRetryAfter(value, now); got != want {
			t.Errorf("parseRetryAfter(%q) = %v, want %v", value, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	var b Backoff
	within := func(what string, d, most time.Duration) {
		t.Helper()
		if d <= most/2 || d > most {
			t.Errorf("%s: %v, want more than %v and at most %v", what, d, most/2, most)
		}
	}
	for most := firstDelay; most < maxDelay; most *= 2 {
		within("each is about twice the one before", b.Next(), most)
	}
	within("up to a limit", b.Next(), maxDelay)
	within("for ever", b.after(maxDelay), maxDelay)
	within("an attempt that held begins a new row", b.after(maxDelay+1), firstDelay)
	within("which grows", b.after(0), 2*firstDelay)
}
