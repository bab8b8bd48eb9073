package meshnet

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/meshnet-go/meshnet/key"
)

// A coordinator does not look at the auth key of a node that it knows, and may
// not look at its tags: a node whose AuthKey or AdvertiseTags are others than
// when it was admitted would stay what it was, and nobody would know why. It
// therefore asks for admission with a new node key, which replaces its own.

// credential is a digest of the AuthKey and AdvertiseTags, which tells nothing
// to whom does not have the machine key.
func (c *config) credential(machine key.MachinePrivate) string {
	mac := hmac.New(sha256.New, []byte(machine.Secret()))
	tags := slices.Compact(slices.Sorted(slices.Values(c.advertiseTags)))
	mac.Write([]byte(c.authKey + "\n" + strings.Join(tags, ",")))
	return hex.EncodeToString(mac.Sum(nil))
}

// credentialChanged reports whether the node was admitted with another
// credential than it has now. One without an auth key has none to show.
func (n *node) credentialChanged() bool {
	if n.cfg.authKey == "" {
		return false
	}
	stored, err := load(n.cfg.store, storedCredential)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			n.cfg.log.Warn("whether AuthKey and AdvertiseTags are new is not known", "err", err)
		}
		return false
	}
	return stored != n.cfg.credential(n.id.machine)
}

// keepCredential notes with what the coordinator has admitted the node. Without
// an auth key it is that of before, if there was one.
func (n *node) keepCredential() error {
	now := n.cfg.credential(n.id.machine)
	stored, err := load(n.cfg.store, storedCredential)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case stored == now, stored != "" && n.cfg.authKey == "":
		return nil
	}
	return save(n.cfg.store, storedCredential, now)
}

// renewIfChanged has the next session ask for admission anew when the credential
// has changed, unless it does that anyway.
func (n *node) renewIfChanged() error {
	if !n.id.oldNode.IsZero() || !n.credentialChanged() {
		return nil
	}
	n.cfg.log.Info("AuthKey or AdvertiseTags have changed; asking for admission anew")
	next, err := n.id.renewal(n.cfg.store)
	if err != nil {
		return err
	}
	return n.become(next)
}
