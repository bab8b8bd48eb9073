package meshnet

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/meshnet-go/meshnet/key"
)

// The names under which a node's values are stored.
const (
	storedMachineKey = "machine.key"
	storedNodeKey    = "node.key"
	storedControlKey = "control.key"
	storedMap        = "netmap"
	storedCredential = "credential"

	storedCertificate = "certificate" // with its key
	storedAccountKey  = "acme.key"
)

// identity is the keys of a node.
type identity struct {
	machine key.MachinePrivate
	node    key.NodePrivate
	// oldNode is the key that node replaces. It is set from the moment the old
	// key has expired, or shall be renewed, until the coordinator has taken the
	// new one.
	oldNode key.NodePublic
	// before is the private key of oldNode while that is still good, so that the
	// node can go on with it when the coordinator does not take the new one.
	before key.NodePrivate
}

// keys returns the keys of a node that starts.
func (c config) keys() (id identity, disco key.DiscoPrivate, err error) {
	if c.pair != nil {
		disco, _ = c.pair.discos()
		return identity{node: c.pair.own}, disco, nil
	}
	id, err = loadIdentity(c.store)
	return id, key.NewDisco(), err
}

// loadIdentity reads the keys from store, making those that are missing. A
// damaged key is an error and not replaced: the node would silently become
// another one.
func loadIdentity(store Store) (id identity, err error) {
	if err := id.loadMachine(store); err != nil {
		return identity{}, err
	}
	if err := id.loadNode(store); err != nil {
		return identity{}, err
	}
	return id, nil
}

func (id *identity) loadMachine(store Store) error {
	text, err := load(store, storedMachineKey)
	if errors.Is(err, fs.ErrNotExist) {
		id.machine = key.NewMachine()
		return save(store, storedMachineKey, id.machine.Secret())
	}
	if err != nil {
		return err
	}
	if id.machine, err = key.ParseMachinePrivate(text); err != nil {
		return damaged(storedMachineKey, err)
	}
	return nil
}

func (id *identity) loadNode(store Store) error {
	text, err := load(store, storedNodeKey)
	if errors.Is(err, fs.ErrNotExist) {
		id.node = key.NewNode()
		return id.saveNode(store)
	}
	if err != nil {
		return err
	}
	keys := append(strings.Split(text, "\n"), "", "")
	if id.node, err = key.ParseNodePrivate(keys[0]); err == nil && keys[1] != "" {
		id.oldNode, err = key.ParseNodePublic(keys[1])
	}
	if err == nil && keys[2] != "" {
		id.before, err = key.ParseNodePrivate(keys[2])
	}
	if err != nil {
		return damaged(storedNodeKey, err)
	}
	return nil
}

// saveNode stores the node key, and behind it, line by line, the one that it
// replaces, and that one's private half.
func (id identity) saveNode(store Store) error {
	text := id.node.Secret()
	if !id.oldNode.IsZero() {
		text += "\n" + id.oldNode.String()
	}
	if !id.before.IsZero() {
		text += "\n" + id.before.Secret()
	}
	return save(store, storedNodeKey, text)
}

// rotate replaces the node key, durably: should the node be stopped before the
// coordinator takes the new key, its next run still knows which node it was.
func (id identity) rotate(store Store) (identity, error) {
	next := identity{machine: id.machine, node: key.NewNode(), oldNode: id.oldNode}
	if next.oldNode.IsZero() {
		next.oldNode = id.node.Public()
	}
	return next, next.saveNode(store)
}

// renewal returns the identity with a new node key in the place of one that is
// still good. It is stored, because the coordinator may take the new key without
// our hearing of it.
func (id identity) renewal(store Store) (identity, error) {
	next := identity{machine: id.machine, node: key.NewNode(), oldNode: id.node.Public(), before: id.node}
	return next, next.saveNode(store)
}

// renewing reports whether the coordinator has yet to take a renewal.
func (id identity) renewing() bool { return !id.before.IsZero() }

// reverted returns the identity from before the renewal.
func (id identity) reverted(store Store) (identity, error) {
	id = identity{machine: id.machine, node: id.before}
	return id, id.saveNode(store)
}

// forgotten returns the identity of a node that is no member, on the same
// machine.
func (id identity) forgotten(store Store) (identity, error) {
	id = identity{machine: id.machine, node: key.NewNode()}
	return id, id.saveNode(store)
}

// accepted forgets the key that was replaced.
func (id identity) accepted(store Store) (identity, error) {
	if id.oldNode.IsZero() {
		return id, nil
	}
	id.oldNode, id.before = key.NodePublic{}, key.NodePrivate{}
	return id, id.saveNode(store)
}

func load(store Store, name string) (string, error) {
	text, err := store.Load(name)
	if err == nil && len(text) == 0 { // forgotten
		err = fs.ErrNotExist
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("reading the stored %s: %w", name, err)
	}
	return strings.TrimSpace(string(text)), err
}

func damaged(name string, err error) error {
	return fmt.Errorf("the stored %s is damaged: %w", name, err)
}

func save(store Store, name, value string) error {
	if err := store.Save(name, []byte(value)); err != nil {
		return fmt.Errorf("storing %s: %w", name, err)
	}
	return nil
}
