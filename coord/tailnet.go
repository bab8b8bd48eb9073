package coord

import (
	"fmt"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// format is that of all records. It changes when older versions of meshnet must
// not touch them any more.
const format = 2

// tailnet is the record by which nodes know the coordinators.
type tailnet struct {
	Format int
	Key    string // the private key, the same for all coordinators
}

func newTailnet() *tailnet { return &tailnet{Format: format, Key: key.NewMachine().Secret()} }

// founded reports whether the records are there that every tailnet has.
func (s *state) founded(now time.Time) bool {
	return s.tailnet != nil && s.authority != nil && s.authority.Serves(s.terms.domain, now)
}

// found makes those of them that are missing.
func (s *state) found(now time.Time) error {
	if s.tailnet == nil {
		s.put(newTailnet())
		s.put(newAdmin())
		s.put(&user{User{ID: int64(defaultUser), Login: defaultUserLogin, Created: now}})
	}
	return s.foundAuthority(now)
}

func (t *tailnet) entryKey() string { return kindTailnet }
func (t *tailnet) enter(s *state)   { s.tailnet = t }
func (t *tailnet) leave(s *state)   { s.tailnet = nil }

func (t *tailnet) check() error {
	if t.Format != format {
		return fmt.Errorf("it has format %d, this version of meshnet knows %d", t.Format, format)
	}
	_, err := key.ParseMachinePrivate(t.Key)
	return err
}

// ledger is the record of what was given to nodes and users last. Who gives
// something that two must not have, such as a name, writes it, even unchanged:
// of two coordinators that do so at once the store lets only one succeed, and
// the other then sees what the first has given.
type ledger struct {
	LastNode tailcfg.NodeID
	LastUser tailcfg.UserID
	NextAddr uint32 // offset in the IPv4 prefix
	Writes   uint64
}

func (l *ledger) entryKey() string { return kindLedger }
func (l *ledger) enter(s *state)   { s.ledger = l }
func (l *ledger) leave(s *state)   { s.ledger = new(ledger) }
func (l *ledger) check() error     { return nil }
