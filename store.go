package meshnet

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// A Store keeps the few values that make a node the same node in its next run:
// its keys, of a few hundred bytes in all, a digest of what it was admitted with,
// the certificate of [Server.ListenTLS] with its key, and the last network map, of
// about a kilobyte for each peer, 16 MiB at most. The keys are secret, and the map is
// nobody else's business. Each node needs a Store of its own.
//
// [NewFileStore] and [NewMemoryStore] make the usual ones; a database or a
// keychain is another type with these two methods, which may be called from
// several goroutines. Names consist of lower-case letters and dots.
type Store interface {
	// Load returns the value of name, or an error that is [fs.ErrNotExist]
	// when none was saved. The caller may change what it gets.
	Load(name string) ([]byte, error)
	// Save keeps value under name, replacing an earlier one as a whole. When it
	// returns nil the value survives a crash; when it returns an error, the
	// earlier one does. Saving an empty value forgets the name: Load then
	// returns no bytes, or fs.ErrNotExist. Save does not keep the slice.
	Save(name string, value []byte) error
}

// NewMemoryStore returns a Store that forgets everything with the process: the
// node that uses it is a new one in every run.
func NewMemoryStore() Store { return &memoryStore{values: make(map[string][]byte)} }

type memoryStore struct {
	mu     sync.Mutex
	values map[string][]byte
}

// Format implements [fmt.Formatter]: no verb shows what is stored.
func (m *memoryStore) Format(f fmt.State, _ rune) { io.WriteString(f, "[memory store]") }

func (m *memoryStore) Load(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return append([]byte(nil), value...), nil
}

func (m *memoryStore) Save(name string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(value) == 0 {
		delete(m.values, name)
		return nil
	}
	m.values[name] = append([]byte(nil), value...)
	return nil
}

// NewFileStore returns a Store of one file per value in dir, readable by the
// owner alone. It makes dir, with mode 0700, when it is missing, and it is an
// error when no file can be made there. A file is replaced as a whole or not at
// all, whenever the process or the machine stops; what a process that was
// stopped has left half written is removed.
func NewFileStore(dir string) (Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	store := fileStore(dir)
	if err := store.tidy(); err != nil {
		return nil, fmt.Errorf("the state directory: %w", err)
	}
	return store, nil
}

type fileStore string // the directory

// unfinished is in the names of files that are not yet complete. No value's
// name begins with a dot.
const unfinished = ".unfinished-"

// tidy removes what was never finished, and finds out whether files can be made.
func (dir fileStore) tidy() error {
	files, err := os.ReadDir(string(dir))
	if err != nil {
		return err
	}
	for _, file := range files {
		if !strings.HasPrefix(file.Name(), unfinished) {
			continue
		}
		if err := os.Remove(filepath.Join(string(dir), file.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	temp, err := os.CreateTemp(string(dir), unfinished)
	if err != nil {
		return err
	}
	return errors.Join(temp.Close(), os.Remove(temp.Name()))
}

func (dir fileStore) path(name string) (string, error) {
	if !filepath.IsLocal(name) || filepath.Base(name) != name || name[0] == '.' {
		return "", fmt.Errorf("%q cannot be the name of a stored value", name)
	}
	return filepath.Join(string(dir), name), nil
}

func (dir fileStore) Load(name string) ([]byte, error) {
	path, err := dir.path(name)
	if err != nil {
		return nil, err
	}
	value, err := os.ReadFile(path)
	if err == nil && len(value) == 0 {
		return nil, fmt.Errorf("%s is empty, which no stored value is", path) // somebody else has been here
	}
	return value, err
}

func (dir fileStore) Save(name string, value []byte) error {
	path, err := dir.path(name)
	if err != nil {
		return err
	}
	if len(value) == 0 {
		err = os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	} else {
		err = dir.replace(path, value)
	}
	if err != nil {
		return err
	}
	return dir.sync()
}

func (dir fileStore) replace(path string, value []byte) error {
	temp, err := os.CreateTemp(string(dir), unfinished) // made with mode 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(value)
	if err == nil {
		err = temp.Sync()
	}
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

// sync makes a rename durable, where the system lets directories be synced.
func (dir fileStore) sync() error {
	d, err := os.Open(string(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	d.Sync() // not supported everywhere; the rename is atomic all the same
	return nil
}
