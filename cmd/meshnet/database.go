package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/meshnet-go/meshnet/coord/boltstore"
)

// What is in the directory of a coordinator.
const (
	adminSocket = "admin.sock"
	database    = "coord.db"
	settings    = "coord.json"
)

// errServed means that a coordinator runs in a directory, and has its database.
var errServed = errors.New("another coordinator runs with this directory")

// lockPatience is how long a database is waited for that nobody serves: commands
// have it for a moment, and coordinators while they start and stop.
const lockPatience = 10 * time.Second

// openDatabase opens the database in the directory of a coordinator. The error is
// [errServed] when one has it that answers.
func openDatabase(ctx context.Context, dir string) (*boltstore.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		store, err := boltstore.Open(filepath.Join(dir, database)) // waits a little itself
		if !errors.Is(err, boltstore.ErrLocked) {
			return store, err
		}
		if conn, err := dialLocal(ctx, filepath.Join(dir, adminSocket)); err == nil {
			conn.Close()
			return nil, errServed
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("a process that does not answer has the database in %s: end it, or try again", dir)
		}
	}
}
