package coord

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

const (
	loginLifetime = time.Hour // until it is approved, and then again until the node comes for it
	maxLogins     = 1000      // pending at once; asking for one takes no credential
)

// login is the record of a registration that waits for an administrator.
type login struct {
	ID      string // stands in the AuthURL; knowing it allows nothing
	Machine key.MachinePublic
	NodeKey key.NodePublic
	Created time.Time
	Expires time.Time

	// What the node says of itself, for the administrator to see.
	Hostname    string
	OS          string
	RequestTags []string `json:",omitempty"`

	// What the administrator said.
	Approved bool           `json:",omitzero"`
	Owner    tailcfg.UserID `json:",omitzero"`
	Tags     []string       `json:",omitempty"`
}

func (l *login) entryKey() string { return kindLogin + "/" + l.ID }

func (l *login) enter(s *state) {
	s.logins[l.ID] = l
	s.dueAt(l.Expires)
	if l.Approved {
		s.settled = append(s.settled, l.ID)
	}
}

func (l *login) leave(s *state) {
	delete(s.logins, l.ID)
	s.settled = append(s.settled, l.ID)
}

func (l *login) check() error {
	if l.ID == "" || l.Machine.IsZero() || l.NodeKey.IsZero() {
		return errors.New("the login is incomplete")
	}
	return nil
}

// errTooManyLogins is answered as "too many requests": try again later.
var errTooManyLogins = errors.New("too many registrations wait for approval")

// loginFor returns the pending login of the node key, making one if there is
// none.
func (s *state) loginFor(now time.Time, machine key.MachinePublic, req *tailcfg.RegisterRequest) (*login, error) {
	for _, l := range s.logins {
		if l.Machine == machine && l.NodeKey == req.NodeKey && now.Before(l.Expires) {
			return l, nil
		}
	}
	if len(s.logins) >= maxLogins {
		return nil, errTooManyLogins
	}
	l := &login{
		ID:      rand.Text(),
		Machine: machine,
		NodeKey: req.NodeKey,
		Created: now,
		Expires: now.Add(loginLifetime),
	}
	if h := req.Hostinfo; h != nil {
		l.Hostname, l.OS = cut(h.Hostname), cut(h.OS)
		tags, err := checkTags(h.RequestTags)
		if err != nil {
			return nil, refusal(err.Error())
		}
		l.RequestTags = tags
	}
	s.put(l)
	return l, nil
}

// loginID returns the login that an AuthURL names; text may be the ID itself.
func loginID(text string) string {
	text, _, _ = strings.Cut(text, "?")
	return path.Base(text)
}

// Login is a node that waits to be admitted.
type Login struct {
	ID       string // the last part of the URL that the node was given
	Hostname string // what the machine calls itself
	OS       string
	Tags     []string // that it asks for
	Machine  key.MachinePublic
	Created  time.Time
	Expires  time.Time
}

// ApproveOptions says how a node is admitted that waits for it. The zero value
// admits it as it asks to be.
type ApproveOptions struct {
	// User is the login of whom the node will belong to. Empty means the user
	// "user".
	User string
	// Tags that the node gets. Nil means those that it asks for.
	Tags []string
}

// pending returns the login of that URL or ID, if it can be decided on.
func (s *state) pending(now time.Time, text string) (*login, error) {
	if l := s.logins[loginID(text)]; l != nil && now.Before(l.Expires) {
		return l, nil
	}
	return nil, fmt.Errorf("coord: a registration that waits under this URL: %w; it may have expired", ErrNotFound)
}

func (s *state) approve(now time.Time, text string, o ApproveOptions) error {
	l, err := s.pending(now, text)
	if err != nil {
		return err
	}
	u, err := s.userOf(o.User)
	if err != nil {
		return err
	}
	approved := *l
	if approved.Tags = l.RequestTags; o.Tags != nil {
		if approved.Tags, err = checkTags(o.Tags); err != nil {
			return err
		}
	}
	approved.Approved, approved.Owner, approved.Expires = true, tailcfg.UserID(u.ID), now.Add(loginLifetime)
	s.give(func(*ledger) {}) // to the user
	s.put(&approved)
	return nil
}

// reject ends a login: the node is given another URL if it asks again.
func (s *state) reject(now time.Time, text string) error {
	l, err := s.pending(now, text)
	if err == nil {
		s.drop(l)
	}
	return err
}

func (l *login) describe() Login {
	return Login{l.ID, l.Hostname, l.OS, slices.Clone(l.RequestTags), l.Machine, l.Created, l.Expires}
}

func (s *state) listLogins(now time.Time) []Login {
	list := make([]Login, 0, len(s.logins))
	for _, l := range s.logins {
		if !l.Approved && now.Before(l.Expires) {
			list = append(list, l.describe())
		}
	}
	slices.SortFunc(list, func(a, b Login) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return list
}
