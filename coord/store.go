package coord

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Store keeps what the coordinator must not forget: its own key, the nodes and
// the auth keys, as one opaque piece of data. The data holds a private key.
// Methods are not called concurrently.
type Store interface {
	// Load returns what was saved last, or nil when nothing ever was.
	Load() ([]byte, error)
	// Save replaces it. After it returned nil the data must survive a crash;
	// after an error the former data must still be there.
	Save(data []byte) error
}

// NewMemoryStore returns a store that lives as long as the program.
func NewMemoryStore() Store { return new(memoryStore) }

type memoryStore struct {
	mu   sync.Mutex
	data []byte
}

func (m *memoryStore) Load() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.data), nil
}

func (m *memoryStore) Save(data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = bytes.Clone(data)
	return nil
}

// NewFileStore returns a store in one file, readable by its owner only. Its
// directory must exist. A crash leaves either the old content or the new one.
func NewFileStore(path string) Store { return fileStore(path) }

type fileStore string

func (f fileStore) Load() ([]byte, error) {
	data, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (f fileStore) Save(data []byte) error {
	dir, name := filepath.Split(string(f))
	temp, err := os.CreateTemp(dir, name+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // fails, as it should, after the rename
	_, err = temp.Write(data)
	if err == nil {
		err = temp.Sync() // or a crash after the rename could leave an empty file
	}
	if err := errors.Join(err, temp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", temp.Name(), err)
	}
	return os.Rename(temp.Name(), string(f))
}
