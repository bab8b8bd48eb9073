package coord

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/meshnet-go/meshnet/coord/internal/web"
)

// Authenticator says who may use the pages for administrators, in place of the
// secret of [Server.AdminSecret]: by OIDC and the like.
type Authenticator interface {
	// Administrator returns who sent a request, if that is an administrator who
	// is signed in.
	Administrator(r *http.Request) (name string, ok bool)
	// SignIn answers the request of anybody else: usually it sends the browser
	// to where people sign in, from where it is to come back to that path.
	SignIn(w http.ResponseWriter, r *http.Request, back string)
}

// AdminSecret returns the secret with which an administrator signs in to the
// pages, when it is asked for the first time: it is made then, and only its
// hash is stored. Later it returns "".
func (s *Server) AdminSecret(ctx context.Context) (string, error) {
	return decide(ctx, s, func(_ time.Time, st *state) (string, error) {
		if st.admin.Hash != "" {
			return "", nil
		}
		return st.newAdminSecret(), nil
	})
}

// ResetAdminSecret returns a new secret for administrators. The old one is no
// good any more, and who signed in with it is signed out.
func (s *Server) ResetAdminSecret(ctx context.Context) (string, error) {
	return decide(ctx, s, func(_ time.Time, st *state) (string, error) { return st.newAdminSecret(), nil })
}

func (s *state) newAdminSecret() string {
	secret := "mkadmin-" + rand.Text()
	hash := web.HashSecret(secret)
	changed := *s.admin
	changed.Hash = hex.EncodeToString(hash[:])
	s.put(&changed)
	return secret
}

// admin is the record by which administrators are known.
type admin struct {
	Hash string `json:",omitzero"` // hex SHA-256 of the secret; empty: there is none yet
	Key  []byte // signs what browsers are given
}

func newAdmin() *admin {
	a := &admin{Key: make([]byte, 32)}
	rand.Read(a.Key) // never fails
	return a
}

func (a *admin) entryKey() string { return kindAdmin }
func (a *admin) enter(s *state)   { s.admin = a }
func (a *admin) leave(s *state)   { s.admin = new(admin) }

func (a *admin) check() error {
	if _, err := hex.DecodeString(a.Hash); err != nil || a.Hash != "" && len(a.Hash) != 64 || len(a.Key) < 32 {
		return errors.New("the administrator's record is damaged")
	}
	return nil
}

// secrets returns what the pages know administrators by.
func (a *admin) secrets() web.Secrets {
	s := web.Secrets{Key: a.Key}
	hex.Decode(s.Hash[:], []byte(a.Hash)) // check has seen it
	return s
}
