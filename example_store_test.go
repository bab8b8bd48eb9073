package meshnet_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log"
	"sync"

	"github.com/meshnet-go/meshnet"
)

// A tableStore is what a program has that keeps its state in a table of a
// database.
type tableStore struct {
	mu   sync.Mutex // for the transaction that a database would have
	rows map[string][]byte
}

func (s *tableStore) Load(name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.rows[name]
	if !ok {
		return nil, fmt.Errorf("no row for %s: %w", name, fs.ErrNotExist)
	}
	return bytes.Clone(value), nil
}

func (s *tableStore) Save(name string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[name] = bytes.Clone(value) // of no bytes when it is to be forgotten
	return nil
}

// A store of one's own is a type with two methods.
func ExampleStore() {
	controlURL, authKey, stop := startMesh()
	defer stop()
	store := &tableStore{rows: make(map[string][]byte)}
	var names []string
	for range 2 { // the second run needs no key, because it is the same node
		srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Store: store}
		status, err := srv.Up(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		names = append(names, status.Self.Name)
		srv.Close()
		authKey = ""
	}
	fmt.Println(names)
	// Output: [node.mesh.internal node.mesh.internal]
}
