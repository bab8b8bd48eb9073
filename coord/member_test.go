package coord

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/meshnet-go/meshnet/key"
)

func TestMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		m := ts.machine()
		m.join("web", ts.reusable(AuthKeyOptions{}))
		node := ts.Nodes()[0]
		ask := func(body string) (int, string) {
			w := httptest.NewRecorder()
			ts.ServeVerify(w, httptest.NewRequest("POST", "/verify", strings.NewReader(body)))
			return w.Code, strings.TrimSpace(w.Body.String())
		}
		question := func(k key.NodePublic) string { return `{"NodePublic":"` + k.String() + `","Source":"192.0.2.1"}` }
		for what, tt := range map[string]struct {
			body, answer string
			code         int
		}{
			"a node":      {question(node.Key), `{"Allow":true}`, http.StatusOK},
			"nobody":      {question(key.NewNode().Public()), `{"Allow":false}`, http.StatusOK},
			"the zero":    {"{}", `{"Allow":false}`, http.StatusOK},
			"no JSON":     {"web", "no JSON with a NodePublic", http.StatusBadRequest},
			"an overlong": {`{"x":"` + strings.Repeat("x", 5000) + `"}`, "no JSON with a NodePublic", http.StatusBadRequest},
		} {
			if code, answer := ask(tt.body); code != tt.code || answer != tt.answer {
				t.Errorf("%s: %d, %q; want %d, %q", what, code, answer, tt.code, tt.answer)
			}
		}
		if err := ts.ExpireNode(t.Context(), node.ID); err != nil {
			t.Fatal(err)
		}
		if _, answer := ask(question(node.Key)); answer != `{"Allow":false}` {
			t.Errorf("an expired node: %s", answer)
		}
	})
}
