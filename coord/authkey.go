package coord

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// AuthKeyOptions is what a new auth key allows. The zero value is a key that
// admits one node and never expires.
type AuthKeyOptions struct {
	// Reusable keys admit any number of nodes.
	Reusable bool
	// Ephemeral nodes are forgotten when they log out, or within a minute
	// after they went offline.
	Ephemeral bool
	// User is the login of whom the nodes will belong to. Empty means the user
	// "user".
	User string
	// Tags that the nodes get, each such as "tag:web". Tagged nodes act for
	// themselves, not for a user, and their keys do not expire.
	Tags []string
	// Lifetime is how long from now the key admits nodes; zero is for ever.
	// The nodes themselves outlive it.
	Lifetime time.Duration
}

// AuthKey describes a key that was made, without its secret.
type AuthKey struct {
	ID        string // the middle part of the key itself
	Reusable  bool
	Ephemeral bool
	User      string `json:"-"` // login; empty when the user is gone
	Tags      []string
	Created   time.Time
	Expires   time.Time `json:",omitzero"` // zero: never
	Uses      int       // nodes admitted
	Revoked   bool
}

// authKeyPrefix begins every auth key: "mkauth-", an ID, "-" and a secret.
const authKeyPrefix = "mkauth-"

// forgetKeys is how long a key of no more use can still be told from one that
// never was.
const forgetKeys = 30 * 24 * time.Hour

// authKey is the record of an AuthKey. Of the secret only a hash is kept: who
// reads the store can join no node.
type authKey struct {
	AuthKey
	Hash     string // hex SHA-256 of the key's text; the secret is too random to be guessed
	Owner    tailcfg.UserID
	LastUsed time.Time `json:",omitzero"`
}

func (k *authKey) entryKey() string { return kindAuthKey + "/" + k.ID }
func (k *authKey) enter(s *state)   { s.authKeys[k.ID] = k }
func (k *authKey) leave(s *state)   { delete(s.authKeys, k.ID) }

func (k *authKey) check() error {
	if k.ID == "" || len(k.Hash) != 2*sha256.Size {
		return errors.New("the auth key is incomplete")
	}
	return nil
}

// newAuthKey makes a key and the text that is given to a node.
func newAuthKey(now time.Time, owner tailcfg.UserID, o AuthKeyOptions) (*authKey, string, error) {
	tags, err := checkTags(o.Tags)
	if err != nil {
		return nil, "", err
	}
	if o.Lifetime < 0 {
		return nil, "", errors.New("coord: the lifetime of an auth key is negative")
	}
	id := rand.Text()[:12]
	text := authKeyPrefix + id + "-" + rand.Text()
	k := &authKey{Hash: hashAuthKey(text), Owner: owner}
	k.ID, k.Reusable, k.Ephemeral, k.Created = id, o.Reusable, o.Ephemeral, now
	k.Tags = tags
	if o.Lifetime > 0 {
		k.Expires = now.Add(o.Lifetime)
	}
	return k, text, nil
}

func hashAuthKey(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// authKeyID returns the ID in the text of a key, or the text when it is an ID.
func authKeyID(text string) string {
	if rest, ok := strings.CutPrefix(text, authKeyPrefix); ok {
		id, _, _ := strings.Cut(rest, "-")
		return id
	}
	return text
}

// findAuthKey returns the key with that text if it admits a node now.
func (s *state) findAuthKey(now time.Time, text string) (*authKey, error) {
	k := s.authKeys[authKeyID(text)]
	if k == nil || subtle.ConstantTimeCompare([]byte(k.Hash), []byte(hashAuthKey(text))) == 0 {
		return nil, refusal("this coordinator knows no such auth key")
	}
	switch {
	case k.Revoked:
		return nil, refusal("the auth key was revoked")
	case k.expired(now):
		return nil, refusal("the auth key expired on " + k.Expires.UTC().Format(time.RFC3339))
	case k.used():
		return nil, refusal("the auth key was used already, and it admits only one node")
	}
	return k, nil
}

func (k *authKey) expired(now time.Time) bool { return !k.Expires.IsZero() && !now.Before(k.Expires) }
func (k *authKey) used() bool                 { return !k.Reusable && k.Uses > 0 }
func (k *authKey) useless(now time.Time) bool { return k.Revoked || k.used() || k.expired(now) }

// forgettable reports whether the key can admit nobody and is old enough that
// nobody should wonder why.
func (k *authKey) forgettable(now time.Time) bool {
	last := k.Created
	for _, t := range []time.Time{k.LastUsed, k.Expires} {
		if t.After(last) {
			last = t
		}
	}
	return k.useless(now) && now.Sub(last) > forgetKeys
}

func (s *state) createAuthKey(now time.Time, o AuthKeyOptions) (string, error) {
	u, err := s.userOf(o.User)
	if err != nil {
		return "", err
	}
	k, text, err := newAuthKey(now, tailcfg.UserID(u.ID), o)
	if err != nil {
		return "", err
	}
	s.give(func(*ledger) {}) // to the user
	for _, old := range s.authKeys {
		if old.forgettable(now) {
			s.drop(old)
		}
	}
	s.put(k)
	return text, nil
}

func (s *state) revokeAuthKey(text string) error {
	k := s.authKeys[authKeyID(text)]
	if k == nil {
		return fmt.Errorf("coord: auth key: %w", ErrNotFound)
	}
	revoked := *k
	revoked.Revoked = true
	s.put(&revoked)
	return nil
}

func (s *state) listAuthKeys() []AuthKey {
	keys := make([]AuthKey, 0, len(s.authKeys))
	for _, k := range s.authKeys {
		public := k.AuthKey
		public.Tags = slices.Clone(k.Tags)
		if u := s.users[k.Owner]; u != nil {
			public.User = u.Login
		}
		keys = append(keys, public)
	}
	slices.SortFunc(keys, func(a, b AuthKey) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return keys
}
