package meshnet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// A Store keeps the few small values that make a node the same node in its
// next run. Some of them are secret. Each node needs a Store of its own.
// Its methods may be called from several goroutines.
type Store interface {
	// Load returns the value of name, or an error that is [fs.ErrNotExist]
	// when none was saved.
	Load(name string) ([]byte, error)
	// Save keeps value under name, replacing an earlier one. When it returns
	// nil the value survives a crash.
	Save(name string, value []byte) error
}

// NewMemoryStore returns a Store that forgets everything with the process: the
// node that uses it is a new one in every run.
func NewMemoryStore() Store { return &memoryStore{values: make(map[string][]byte)} }

type memoryStore struct {
	mu     sync.Mutex
	values map[string][]byte
}

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
	m.values[name] = append([]byte(nil), value...)
	return nil
}

// NewFileStore returns a Store of one file per value in dir, readable by the
// owner alone. A file is replaced as a whole or not at all.
func NewFileStore(dir string) (Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	return fileStore(dir), nil
}

type fileStore string // the directory

func (dir fileStore) path(name string) (string, error) {
	if !filepath.IsLocal(name) || filepath.Base(name) != name {
		return "", fmt.Errorf("%q cannot be the name of a stored value", name)
	}
	return filepath.Join(string(dir), name), nil
}

func (dir fileStore) Load(name string) ([]byte, error) {
	path, err := dir.path(name)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func (dir fileStore) Save(name string, value []byte) error {
	path, err := dir.path(name)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(string(dir), "."+name+"-*") // made with mode 0600
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
	return dir.sync()
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
