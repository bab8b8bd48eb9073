package derp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/meshnet-go/meshnet/key"
)

// keyFile is the content of a file with a relay's key, as Tailscale's derper
// (-c) writes it too.
type keyFile struct{ PrivateKey string }

// KeyFile returns the key of a relay that is kept in a file. When there is no
// such file, it makes one, with a new key.
func KeyFile(path string) (key.NodePrivate, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newKeyFile(path)
	}
	if err != nil {
		return key.NodePrivate{}, fmt.Errorf("derp: the relay's key: %w", err)
	}
	var content keyFile
	if err := json.Unmarshal(text, &content); err != nil {
		return key.NodePrivate{}, fmt.Errorf("derp: %s has no relay's key: %w", path, err)
	}
	k, err := key.ParseNodePrivate(content.PrivateKey)
	if err == nil && k.IsZero() {
		err = errors.New("it is zero")
	}
	if err != nil {
		return key.NodePrivate{}, fmt.Errorf("derp: %s has no relay's key: %w", path, err)
	}
	return k, nil
}

func newKeyFile(path string) (key.NodePrivate, error) {
	k := key.NewNode()
	text, err := json.MarshalIndent(keyFile{k.Secret()}, "", "\t")
	if err == nil {
		err = keep(path, append(text, '\n'))
	}
	if err != nil {
		return key.NodePrivate{}, fmt.Errorf("derp: keep the relay's key: %w", err)
	}
	return k, nil
}

// keep writes a file that only its owner reads, and that is whole or not there
// whatever happens.
func keep(path string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // unless it has been renamed
	_, err = temp.Write(content)
	if err == nil {
		err = temp.Sync()
	}
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
