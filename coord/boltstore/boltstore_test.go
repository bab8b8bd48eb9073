package boltstore

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/coord/storetest"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, open(t, filepath.Join(t.TempDir(), "coord.db")))
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "coord.db")
	s := open(t, path)
	first, err := s.Commit(t.Context(), []coord.Change{{Key: "a", Value: []byte("1")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrLocked) {
		t.Errorf("opening it twice: %v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), []coord.Change{{Key: "b", Value: []byte("1")}}); err == nil {
		t.Error("committed to a closed store")
	}
	s = open(t, path)
	all, _, err := s.Follow(t.Context())
	if err != nil || len(all) != 1 || string(all[0].Value) != "1" || all[0].Revision != first {
		t.Errorf("reopened: %+v, %v", all, err)
	}
	if second, err := s.Commit(t.Context(), []coord.Change{{Key: "a", Value: []byte("2"), Was: first}}); err != nil || second <= first {
		t.Errorf("the next revision is %d, %v; the last was %d", second, err, first)
	}
	if fi, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && fi.Mode() != 0o600 {
		t.Errorf("the file's mode is %v, %v; want only the owner to read it", fi.Mode(), err)
	}
}

func TestNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "coord.db")
	if err := os.WriteFile(path, make([]byte, 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil {
		t.Error("opened a file that is no database")
	}
	if _, err := Open(filepath.Join(path, "below-a-file")); err == nil {
		t.Error("opened a file below a file")
	}
}
