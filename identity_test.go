package meshnet

import (
	"strings"
	"testing"
)

// same compares with what is stored, because private keys hide from ==.
func same(a, b identity) bool {
	return a.machine.Secret() == b.machine.Secret() && a.node.Secret() == b.node.Secret() && a.oldNode == b.oldNode && a.renewing() == b.renewing() && (!a.renewing() || a.before.Secret() == b.before.Secret())
}

func TestIdentityIsKept(t *testing.T) {
	store := NewMemoryStore()
	first, err := loadIdentity(store)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := loadIdentity(store); err != nil || !same(again, first) {
		t.Errorf("another run has other keys: %v", err)
	}
	rotated, err := first.rotate(store)
	if err != nil || rotated.machine.Public() != first.machine.Public() || rotated.node.Public() == first.node.Public() || rotated.oldNode != first.node.Public() {
		t.Errorf("rotated to the wrong keys: %v", err)
	}
	if again, err := loadIdentity(store); err != nil || !same(again, rotated) {
		t.Errorf("a rotated key, or the one it replaces, is not kept: %v", err)
	}
	if twice, err := rotated.rotate(store); err != nil || twice.oldNode != first.node.Public() || twice.node.Public() == rotated.node.Public() {
		t.Errorf("a key that was never taken counts as the old one: %v", err)
	}
	accepted, err := rotated.accepted(store)
	if err != nil || !accepted.oldNode.IsZero() {
		t.Errorf("the replaced key is not forgotten: %v", err)
	}
	if again, err := loadIdentity(store); err != nil || !same(again, accepted) {
		t.Errorf("the replaced key is not forgotten durably: %v", err)
	}
}

func TestDamagedKeyIsNotReplaced(t *testing.T) {
	store := NewMemoryStore()
	store.Save(storedNodeKey, []byte("privkey:0123"))
	_, err := loadIdentity(store)
	if err == nil || !strings.Contains(err.Error(), storedNodeKey) {
		t.Errorf("error is %v", err)
	}
	if got, _ := store.Load(storedNodeKey); string(got) != "privkey:0123" {
		t.Error("the damaged key was overwritten")
	}
}

func TestRenewalIsKeptUntilItIsDecided(t *testing.T) {
	store := NewMemoryStore()
	first, err := loadIdentity(store)
	if err != nil {
		t.Fatal(err)
	}
	next, err := first.renewal(store)
	if err != nil || !next.renewing() || next.oldNode != first.node.Public() || next.node.Public() == first.node.Public() {
		t.Errorf("renewed to the wrong keys: %v", err)
	}
	if again, err := loadIdentity(store); err != nil || !same(again, next) {
		t.Errorf("a renewal that is not decided is not kept: %v", err)
	}
	if reverted, err := next.reverted(store); err != nil || !same(reverted, first) {
		t.Errorf("a renewal that was refused leaves other keys: %v", err)
	}
	if again, err := loadIdentity(store); err != nil || !same(again, first) {
		t.Errorf("they are not stored: %v", err)
	}
	if accepted, err := next.accepted(store); err != nil || accepted.renewing() || !accepted.oldNode.IsZero() {
		t.Errorf("a renewal that was accepted goes on: %v", err)
	}
}
