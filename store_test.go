package meshnet

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func newFileStore(t *testing.T, dir string) Store {
	t.Helper()
	store, err := NewFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStores(t *testing.T) {
	for name, store := range map[string]Store{
		"file":   newFileStore(t, filepath.Join(t.TempDir(), "new", "state")),
		"memory": NewMemoryStore(),
	} {
		missing := func(why string) {
			if value, err := store.Load("node.key"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: loading %s: %q, %v", name, why, value, err)
			}
		}
		missing("what was never saved")
		if err := store.Save("node.key", nil); err != nil {
			t.Errorf("%s: forgetting what was never saved: %v", name, err)
		}
		for _, value := range []string{"first", "second"} {
			given := []byte(value)
			if err := store.Save("node.key", given); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			given[0] = 'x'
			got, err := store.Load("node.key")
			if err != nil || string(got) != value {
				t.Errorf("%s: loaded %q, %v; saved %q", name, got, err, value)
			}
			got[0] = 'x'
		}
		if got, err := store.Load("node.key"); err != nil || string(got) != "second" {
			t.Errorf("%s: what was loaded and changed is %q, %v", name, got, err)
		}
		if err := store.Save("node.key", []byte{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		missing("what was forgotten")
	}
}

// TestStoresAreForSeveralGoroutines reads while others write: every value is one
// that somebody saved, as a whole.
func TestStoresAreForSeveralGoroutines(t *testing.T) {
	for name, store := range map[string]Store{"file": newFileStore(t, t.TempDir()), "memory": NewMemoryStore()} {
		value := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 10_000+i) }
		if err := store.Save("netmap", value(0)); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				for range 20 {
					if err := store.Save("netmap", value(i)); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			})
			all.Go(func() {
				for range 20 {
					got, err := store.Load("netmap")
					if err != nil || len(got) == 0 || !bytes.Equal(got, value(int(got[0]-'a'))) {
						t.Errorf("%s: a value of %d bytes that nobody saved, %v", name, len(got), err)
					}
				}
			})
		}
		all.Wait()
	}
}

func TestFileStoreIsForTheOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	store := newFileStore(t, dir)
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
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

// TestFileStoreAfterACrash finds what a process leaves that was stopped in the
// middle of a write: the value before it, and a file that nobody needs.
func TestFileStoreAfterACrash(t *testing.T) {
	dir := t.TempDir()
	if err := newFileStore(t, dir).Save("node.key", []byte("before")); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, unfinished+"123")
	if err := os.WriteFile(half, []byte("aft"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := newFileStore(t, dir)
	if got, err := again.Load("node.key"); err != nil || string(got) != "before" {
		t.Errorf("after a crash the value is %q, %v", got, err)
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was half written is still there: %v", err)
	}
}

// TestFileStoreThatCannotWrite has a save fail: the error says where, and the
// value before it stays.
func TestFileStoreThatCannotWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	store := newFileStore(t, dir)
	if err := store.Save("node.key", []byte("before")); err != nil {
		t.Fatal(err)
	}
	// In the way of a rename, and whoever runs the tests may be root, whom
	// permissions do not stop.
	inTheWay := filepath.Join(dir, "netmap")
	if err := os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := store.Save("netmap", []byte("value")); err == nil || !strings.Contains(err.Error(), inTheWay) {
		t.Errorf("saving where a directory is: %v", err)
	}
	if got, err := store.Load("node.key"); err != nil || string(got) != "before" {
		t.Errorf("the other value is %q, %v", got, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
	file := filepath.Join(dir, "node.key")
	if _, err := NewFileStore(filepath.Join(file, "state")); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a store below a file: %v", err)
	}
}

func TestUnwritableDirIsAnErrorOfStart(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	s := &Server{ControlURL: "http://127.0.0.1:1", Dir: dir}
	defer s.Close()
	if err := s.Start(); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Start with an unwritable directory: %v", err)
	}
}

func TestFileStoreStaysInItsDirectory(t *testing.T) {
	store := newFileStore(t, t.TempDir())
	for _, name := range []string{"../x", "/x", "a/b", "..", "", ".hidden"} {
		if err := store.Save(name, []byte("value")); err == nil {
			t.Errorf("saved %q", name)
		}
	}
}

func TestEmptiedFileIsDamage(t *testing.T) {
	dir := t.TempDir()
	store := newFileStore(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "node.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadIdentity(store); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "node.key") {
		t.Errorf("a key whose file was emptied: %v", err)
	}
}
