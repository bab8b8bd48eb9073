package coord

import (
	"crypto/rand"
	"errors"
	"path"
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
	ID       string // stands in the AuthURL; knowing it allows nothing
	Machine  key.MachinePublic
	NodeKey  key.NodePublic
	Expires  time.Time
	Approved bool `json:",omitzero"`
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
		Expires: now.Add(loginLifetime),
	}
	s.put(l)
	return l, nil
}

// loginID returns the login that an AuthURL names; text may be the ID itself.
func loginID(text string) string {
	text, _, _ = strings.Cut(text, "?")
	return path.Base(text)
}

func (s *state) approve(now time.Time, text string) error {
	l := s.logins[loginID(text)]
	if l == nil || !now.Before(l.Expires) {
		return errors.New("coord: no registration waits under this URL; it may have expired")
	}
	approved := *l
	approved.Approved, approved.Expires = true, now.Add(loginLifetime)
	s.put(&approved)
	return nil
}
