package portmap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// mapper makes the mapping of one target by one protocol.
type mapper interface {
	name() string
	// add makes the mapping, or makes it last longer.
	add(ctx context.Context) (lease, error)
	// check returns an error unless the mapping is still as add returned it,
	// as far as the protocol can tell.
	check(ctx context.Context) error
	// remove ends the mapping.
	remove(ctx context.Context) error
}

// lease is a mapping and how long it lasts.
type lease struct {
	external netip.AddrPort
	lifetime time.Duration
}

const (
	// askedLifetime is what RFC 6887 and RFC 6886 recommend.
	askedLifetime = 2 * time.Hour
	// minLifetime bounds how often we renew. PCP's gateways give no less.
	minLifetime = 2 * time.Minute
)

// usable returns the lease that a gateway gave, or an error if that is
// nonsense.
func (l lease) usable() (lease, error) {
	ip := l.external.Addr()
	if !ip.Is4() || l.external.Port() == 0 || ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast() || l.lifetime <= 0 {
		return lease{}, &refusal{fmt.Errorf("it gave %v for %v", l.external, l.lifetime)}
	}
	l.lifetime = min(max(l.lifetime, minLifetime), askedLifetime)
	return l, nil
}

// refusal is that the gateway answered, and gave no mapping.
type refusal struct{ err error }

func (r *refusal) Error() string { return "portmap: the gateway refuses: " + r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refuse makes a refusal of one of the protocols' results.
func refuse(result fmt.Stringer) error { return &refusal{errors.New(result.String())} }

var (
	errRestarted = errors.New("portmap: the gateway has restarted")
	errMoved     = errors.New("portmap: the gateway's address has changed")
	errMissing   = errors.New("portmap: the gateway has lost the mapping")
)
