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

// login is a registration that waits for an administrator.
type login struct {
	id       string // stands in the AuthURL; knowing it allows nothing
	machine  key.MachinePublic
	nodeKey  key.NodePublic
	expires  time.Time
	approved bool
	decided  chan struct{} // closed when it is approved or has expired
}

// errTooManyLogins is answered as "too many requests": try again later.
var errTooManyLogins = errors.New("too many registrations wait for approval")

// loginFor returns the pending login of the node key, making one if there is
// none.
func (s *state) loginFor(now time.Time, machine key.MachinePublic, req *tailcfg.RegisterRequest) (*login, error) {
	for _, l := range s.logins {
		if l.machine == machine && l.nodeKey == req.NodeKey && now.Before(l.expires) {
			return l, nil
		}
	}
	if len(s.logins) >= maxLogins {
		return nil, errTooManyLogins
	}
	l := &login{
		id:      rand.Text(),
		machine: machine,
		nodeKey: req.NodeKey,
		expires: now.Add(loginLifetime),
		decided: make(chan struct{}),
	}
	s.logins[l.id] = l
	return l, nil
}

// loginID returns the login that an AuthURL names; text may be the ID itself.
func loginID(text string) string {
	text, _, _ = strings.Cut(text, "?")
	return path.Base(text)
}

func (s *state) approve(now time.Time, text string) error {
	l := s.logins[loginID(text)]
	if l == nil || !now.Before(l.expires) {
		return errors.New("coord: no registration waits under this URL; it may have expired")
	}
	l.expires = now.Add(loginLifetime)
	if !l.approved {
		l.approved = true
		close(l.decided)
	}
	return nil
}
