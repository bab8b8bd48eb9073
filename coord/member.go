package coord

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

// Member reports whether a key is that of a node of the tailnet that has not
// expired: for relays that serve nobody else.
func (s *Server) Member(ctx context.Context, k key.NodePublic) (bool, error) {
	return decide(ctx, s, func(_ time.Time, st *state) (bool, error) {
		n := st.nodes[st.byKey[k]]
		return n != nil && !n.Expired, nil
	})
}

// ServeVerify answers relays elsewhere what Member says, in the form in which
// Tailscale's derper asks (-verify-client-url); see derp.AdmitURL. Serve it with
// POST on a path of your choice; Headscale has it at /verify.
func (s *Server) ServeVerify(w http.ResponseWriter, r *http.Request) {
	var question struct{ NodePublic key.NodePublic }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&question); err != nil {
		http.Error(w, "no JSON with a NodePublic", http.StatusBadRequest)
		return
	}
	member, err := s.Member(r.Context(), question.NodePublic)
	if err != nil {
		http.Error(w, "the coordinator cannot tell", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(struct{ Allow bool }{member})
}
