package coord

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/meshnet-go/meshnet/internal/cert"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// The coordinator signs TLS certificates for its nodes, with an authority of its
// own that nodes built with meshnet trust for names of the mesh. A certificate is
// for the name and the addresses that the node has, whatever it asks for, and
// lives for days: nodes renew theirs, and a node that is gone gets none.

// AuthorityPEM returns the certificate of the mesh's authority, for programs that
// are not nodes but shall trust the certificates of nodes, such as browsers that
// come through a proxy. By its own words it is good for names within the domain
// and the addresses of meshes, and for nothing else.
func (s *Server) AuthorityPEM() []byte { return cert.EncodeRoot(s.current.Load().authority.Root()) }

// authority is the record of the mesh's authority.
type authority struct {
	Root []byte // its certificate, in DER
	Key  []byte // private, as PKCS #8
}

func newAuthority(domain string, now time.Time) (*authority, error) {
	a, err := cert.NewAuthority(domain, now)
	if err != nil {
		return nil, err
	}
	key, err := a.Key()
	return &authority{Root: a.Root(), Key: key}, err
}

func (a *authority) entryKey() string { return kindAuthority }
func (a *authority) enter(s *state)   { s.authority, _ = cert.LoadAuthority(a.Root, a.Key) } // as check found
func (a *authority) leave(s *state)   { s.authority = nil }

func (a *authority) check() error {
	_, err := cert.LoadAuthority(a.Root, a.Key)
	return err
}

// self returns the node as it is shown to itself: with what it needs to know of
// certificates.
func (t *terms) self(n *node) *tailcfg.Node {
	w := n.wire(t.domain)
	root, _ := json.Marshal(t.authority.Root()) // bytes always can be
	w.CapMap = map[string][]json.RawMessage{tailcfg.CapAuthority: {root}}
	if t.publishes {
		w.CapMap[tailcfg.CapHTTPS] = nil
	}
	return w
}

// serveCertificate signs a certificate for the node that asks.
func (s *Server) serveCertificate(w http.ResponseWriter, r *http.Request) {
	var req tailcfg.CertificateRequest
	if !readJSON(w, r, &req) {
		return
	}
	n := s.memberOf(w, r, req.NodeKey)
	if n == nil {
		return
	}
	t := s.current.Load().terms
	der, err := t.authority.Sign(req.Request, n.fullName(t.domain), n.addrs(), time.Now())
	if err != nil {
		http.Error(w, fmt.Sprintf("%.300v", err), http.StatusBadRequest)
		return
	}
	s.log.Info("certificate signed", "node", n.Name)
	writeJSON(w, tailcfg.CertificateResponse{Chain: [][]byte{der}})
}

// foundAuthority puts an authority if there is none for the domain.
func (s *state) foundAuthority(now time.Time) error {
	if s.authority != nil && s.authority.Serves(s.terms.domain, now) {
		return nil
	}
	a, err := newAuthority(s.terms.domain, now)
	if err != nil {
		return err
	}
	s.put(a)
	return nil
}

// memberOf returns the node with this key if it is the machine's that asks, and
// has not expired. Otherwise it answers the request and returns nil.
func (s *Server) memberOf(w http.ResponseWriter, r *http.Request, k key.NodePublic) *node {
	machine := connOf(r).Peer()
	n, err := decide(r.Context(), s, func(_ time.Time, st *state) (*node, error) { return st.find(k, machine), nil })
	switch {
	case err != nil:
		http.Error(w, "the coordinator could not look up the node", http.StatusServiceUnavailable)
		return nil
	case n == nil || n.Expired:
		http.Error(w, "this machine has no such member; register it", http.StatusForbidden)
		return nil
	}
	return n
}
