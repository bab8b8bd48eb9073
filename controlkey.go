package meshnet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/control"
	"github.com/meshnet-go/meshnet/key"
)

// controlKey returns the coordinator's key: the pinned one, or the one that the
// coordinator shows, for which it is asked until it answers.
func (n *node) controlKey(ctx context.Context) (key.MachinePublic, error) {
	if !n.cfg.controlKey.IsZero() {
		return n.cfg.controlKey, nil
	}
	var shown key.MachinePublic
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		shown, err = n.fetchControlKey(ctx)
	}()
	if n.attend(done); err != nil {
		return key.MachinePublic{}, err
	}
	if n.cfg.controlURL.Scheme == "http" { // nothing but our memory vouches for it
		if err := rememberControlKey(n.cfg.store, n.cfg.controlURL, shown); err != nil {
			return key.MachinePublic{}, err
		}
	}
	return shown, nil
}

func (n *node) fetchControlKey(ctx context.Context) (key.MachinePublic, error) {
	var retry control.Backoff
	for {
		shown, err := control.FetchServerKey(ctx, n.controlConfig(key.MachinePublic{}))
		if err == nil || ctx.Err() != nil {
			return shown, err
		}
		n.cfg.log.Warn("cannot reach the coordinator; trying again", "err", err)
		err = judgeControlURL(n.cfg.controlURL.String(), err)
		n.view.update(func(v *view) { v.trouble(err) })
		if !n.pauseForRetry(ctx, retry.Next()) {
			return key.MachinePublic{}, ctx.Err()
		}
	}
}

// pauseForRetry is pause, which a call of Up ends.
func (n *node) pauseForRetry(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	select {
	case <-n.retry:
		return true
	case <-ctx.Done():
		return ctx.Err() == context.DeadlineExceeded
	}
}

func (n *node) controlConfig(serverKey key.MachinePublic) control.Config {
	return control.Config{
		URL:       n.cfg.controlURL.String(),
		ServerKey: serverKey,
		Machine:   n.id.machine,
		Dial:      n.cfg.dial,
		RootCAs:   n.cfg.rootCAs,
		Spare:     &n.spare,
		Logger:    n.cfg.log,
	}
}

// rememberControlKey checks the key that a coordinator without TLS showed
// against the one it showed first, and remembers it when it is the first.
func rememberControlKey(store Store, control *url.URL, shown key.MachinePublic) error {
	line := control.String() + " " + shown.String()
	stored, err := load(store, storedControlKey)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	storedURL, storedKey, _ := strings.Cut(stored, " ")
	if storedURL != control.String() {
		return save(store, storedControlKey, line) // the first one, or the node has moved
	}
	if storedKey != shown.String() {
		return fmt.Errorf("%w: %s shows %v, and showed %s before; if it was set up anew, "+
			"remove %s from the store or set ControlKey", ErrControlKeyChanged, control, shown, storedKey, storedControlKey)
	}
	return nil
}
