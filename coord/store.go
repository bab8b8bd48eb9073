package coord

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Store keeps what the coordinator must not forget: its own key, the nodes and
// the auth keys, as one opaque piece of data. The data holds a private key.
// Methods are not called concurrently, and neither side changes the data.
type Store interface {
	// Load returns what was saved last, or nil when nothing ever was.
	Load() ([]byte, error)
	// Save replaces it. After it returned nil the data must survive a crash;
	// after an error the former data must still be there.
	Save(data []byte) error
}

// NewMemoryStore returns a store that lives as long as the program.
func NewMemoryStore() Store { return new(memoryStore) }

type memoryStore struct{ data []byte }

func (m *memoryStore) Load() ([]byte, error) { return m.data, nil }

func (m *memoryStore) Save(data []byte) error {
	m.data = data
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
	dir, name := filepath.Dir(string(f)), filepath.Base(string(f))
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
	if err := os.Rename(temp.Name(), string(f)); err != nil {
		return err
	}
	syncDir(dir)
	return nil
}

// syncDir makes a rename last. Not every system can do that for a directory,
// and one that cannot needs no telling.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}
