package derp

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet/key"
)

func TestAdmitURL(t *testing.T) {
	client, addr := key.NewNode().Public(), netip.MustParseAddrPort("192.0.2.1:4711")
	for name, test := range map[string]struct {
		status int
		reply  string
		ok     bool
	}{
		"allowed":         {200, `{"Allow":true}`, true},
		"not allowed":     {200, `{"Allow":false}`, false},
		"said nothing":    {200, `{}`, false},
		"not JSON":        {200, `yes`, false},
		"too much":        {200, `{"Allow":true, "Why":"` + strings.Repeat("x", maxAdmitReply) + `"}`, false},
		"failed":          {500, `{"Allow":true}`, false},
		"moved elsewhere": {404, ``, false},
	} {
		t.Run(name, func(t *testing.T) {
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var asked map[string]string
				body, _ := io.ReadAll(r.Body)
				json.Unmarshal(body, &asked)
				if r.Method != "POST" || len(asked) != 2 || asked["NodePublic"] != client.String() || asked["Source"] != "192.0.2.1" {
					t.Errorf("asked by %s: %s", r.Method, body)
				}
				w.WriteHeader(test.status)
				io.WriteString(w, test.reply)
			}))
			defer web.Close()
			a := AdmitURL{URL: web.URL, Client: web.Client(), FailOpen: true}
			if err := a.Admit(t.Context(), client, addr); (err == nil) != test.ok {
				t.Errorf("Admit: %v", err)
			}
		})
	}
}

func TestAdmitURLThatIsNotThere(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	web.Close()
	for _, open := range []bool{false, true} {
		a := AdmitURL{URL: web.URL, FailOpen: open}
		if err := a.Admit(t.Context(), key.NewNode().Public(), netip.AddrPort{}); (err == nil) != open {
			t.Errorf("with FailOpen %v: %v", open, err)
		}
	}
}
