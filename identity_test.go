package meshnet

import (
	"strings"
	"testing"
)

func TestIdentityIsKept(t *testing.T) {
	store := NewMemoryStore()
	first, err := loadIdentity(store)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := loadIdentity(store); err != nil || again != first {
		t.Errorf("another run has other keys: %v", err)
	}
	rotated, err := first.rotate(store)
	if err != nil || rotated.machine != first.machine || rotated.node == first.node || rotated.oldNode != first.node.Public() {
		t.Errorf("rotated to the wrong keys: %v", err)
	}
	if again, err := loadIdentity(store); err != nil || again != rotated {
		t.Errorf("a rotated key, or the one it replaces, is not kept: %v", err)
	}
	if twice, err := rotated.rotate(store); err != nil || twice.oldNode != first.node.Public() || twice.node == rotated.node {
		t.Errorf("a key that was never taken counts as the old one: %v", err)
	}
	accepted, err := rotated.accepted(store)
	if err != nil || !accepted.oldNode.IsZero() {
		t.Errorf("the replaced key is not forgotten: %v", err)
	}
	if again, err := loadIdentity(store); err != nil || again != accepted {
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
