package coord

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// Nodes get certificates of public authorities by ACME, if the names of the mesh
// are names of the public DNS: there the coordinator publishes what proves that a
// node has its name.

// dnsOf returns the DNS configuration of a node: that of all, and the name for
// which it may prove to a public authority that it is its own.
func (t *terms) dnsOf(n *node) *tailcfg.DNSConfig {
	if !t.publishes {
		return t.dns
	}
	own := *t.dns
	own.CertDomains = []string{n.fullName(t.domain)}
	return &own
}

// publishTimeout is how long [Config].PublishTXT may take.
const publishTimeout = time.Minute

// serveSetDNS publishes what a public authority asks a node to, so that it
// believes that the node's name is its own.
func (s *Server) serveSetDNS(w http.ResponseWriter, r *http.Request) {
	if s.publishTXT == nil {
		http.Error(w, "this coordinator publishes no DNS records", http.StatusNotImplemented)
		return
	}
	var req tailcfg.SetDNSRequest
	if !readJSON(w, r, &req) {
		return
	}
	n := s.memberOf(w, r, req.NodeKey)
	if n == nil {
		return
	}
	name := challengeLabel + n.fullName(s.domain)
	if req.Type != "TXT" || req.Name != name || !isChallenge(req.Value) {
		http.Error(w, "a node may publish the TXT record of an ACME challenge for its own name, "+name, http.StatusForbidden)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), publishTimeout)
	defer cancel()
	if err := s.publishTXT(ctx, name, req.Value); err != nil {
		s.log.Warn("publishing an ACME challenge", "node", n.Name, "err", err)
		http.Error(w, "the coordinator could not publish the record", http.StatusBadGateway)
		return
	}
	writeJSON(w, struct{}{})
}

// challengeLabel is where the record of a challenge stands (RFC 8555, section
// 8.4).
const challengeLabel = "_acme-challenge."

// isChallenge reports whether a value can be a challenge's: base64url of a
// SHA-256.
func isChallenge(value string) bool {
	return len(value) == 43 && !slices.ContainsFunc([]byte(value), func(c byte) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_')
	})
}
