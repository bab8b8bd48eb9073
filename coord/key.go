package coord

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/meshnet-go/meshnet/key"
)

// serveKey answers GET /key?v=, where a node that knows no key of ours learns
// it. v is the node's capability version.
func (s *Server) serveKey(w http.ResponseWriter, r *http.Request) {
	if _, err := strconv.ParseUint(r.URL.Query().Get("v"), 10, 16); err != nil {
		http.Error(w, "the query has no capability version v", http.StatusBadRequest)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*") // pages of any origin are nodes
	writeJSON(w, struct {
		LegacyPublicKey key.MachinePublic `json:"legacyPublicKey"` // zero: of a protocol that is gone
		PublicKey       key.MachinePublic `json:"publicKey"`
	}{PublicKey: s.key.Public()})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // an error means that the node is gone
}
