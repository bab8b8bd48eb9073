package meshnet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestStores(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "state")
	files, err := NewFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]Store{"file": files, "memory": NewMemoryStore()} {
		if _, err := store.Load("node.key"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: loading what was never saved: %v", name, err)
		}
		for _, value := range []string{"first", "second", ""} {
			if err := store.Save("node.key", []byte(value)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got, err := store.Load("node.key"); err != nil || string(got) != value {
				t.Errorf("%s: loaded %q, %v; saved %q", name, got, err, value)
			}
		}
	}
}

func TestFileStoreIsForTheOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	store, err := NewFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Save("node.key", []byte("secret")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "node.key"): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got&^want != 0 {
			t.Errorf("%s has mode %v", path, got)
		}
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

func TestFileStoreStaysInItsDirectory(t *testing.T) {
	store, err := NewFileStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../x", "/x", "a/b", "..", ""} {
		if err := store.Save(name, nil); err == nil {
			t.Errorf("saved %q", name)
		}
	}
}
