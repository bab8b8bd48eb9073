//go:build !wasm

// Package boltstore keeps what a coordinator knows in one file, a bbolt
// database (go.etcd.io/bbolt).
//
// Why bbolt: a commit is one transaction that is on the disk when it returns,
// and a crash at any moment leaves the last one whole, which has been true of
// it for more than ten years; it is pure Go, locks its file against a second
// process on every system, and has tools of its own for looking into a file.
// What it is slow at, many small commits, the coordinator does not do: it
// commits together what is decided at the same time.
package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/coord/internal/feed"
)

// bucket holds all entries, by key. A value is
//
//	u64 BE revision of the commit that wrote it | the entry's value
//
// and the revision of the last commit is the bucket's sequence number.
var bucket = []byte("meshnet")

const revisionSize = 8

// ErrLocked means that another process has the file open: a coordinator that
// is running.
var ErrLocked = errors.New("boltstore: the file is in use by another process")

// Store is a [coord.Store] in a file. It is closed by whoever opened it, after
// the servers that use it.
type Store struct {
	db *bolt.DB

	mu   sync.Mutex // held while entries are committed, and until that is told
	feed feed.Feed[[]coord.Entry]
}

// Open opens the file, making it when there is none, with mode 0600. Its
// directory must exist. When another process has the file open, the error is
// [ErrLocked].
func Open(path string) (*Store, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 100 * time.Millisecond, FreelistType: bolt.FreelistMapType})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, fmt.Errorf("boltstore: open %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("boltstore: %w", err), db.Close())
	}
	return &Store{db: db}, nil
}

// Close waits for commits and closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Follow implements [coord.Store].
func (s *Store) Follow(ctx context.Context) (all []coord.Entry, later iter.Seq2[[]coord.Entry, error], err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
			revision, value, err := parse(v)
			all = append(all, coord.Entry{Key: string(k), Value: bytes.Clone(value), Revision: revision})
			return err
		})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("boltstore: %w", err)
	}
	return all, s.feed.Follow(ctx), ctx.Err()
}

// Commit implements [coord.Store].
func (s *Store) Commit(ctx context.Context, changes []coord.Change) (revision int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var told []coord.Entry
	err = s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		if err := check(b, changes); err != nil {
			return err
		}
		sequence, err := b.NextSequence()
		if err != nil {
			return err
		}
		revision = int64(sequence)
		for _, c := range changes {
			if err := put(b, c, revision); err != nil {
				return err
			}
			told = append(told, coord.Entry{Key: c.Key, Value: c.Value, Revision: revision})
		}
		return nil
	})
	if errors.Is(err, coord.ErrConflict) {
		return 0, err
	}
	if err != nil {
		return 0, fmt.Errorf("boltstore: %w", err)
	}
	s.feed.Publish(told)
	return revision, nil
}

// check reports a conflict when an entry is not what a change says it was.
func check(b *bolt.Bucket, changes []coord.Change) error {
	for _, c := range changes {
		var is int64
		if v := b.Get([]byte(c.Key)); v != nil {
			var err error
			if is, _, err = parse(v); err != nil {
				return err
			}
		}
		if is != c.Was {
			return coord.ErrConflict
		}
	}
	return nil
}

func put(b *bolt.Bucket, c coord.Change, revision int64) error {
	if c.Value == nil {
		return b.Delete([]byte(c.Key))
	}
	v := binary.BigEndian.AppendUint64(make([]byte, 0, revisionSize+len(c.Value)), uint64(revision))
	return b.Put([]byte(c.Key), append(v, c.Value...))
}

func parse(v []byte) (revision int64, value []byte, err error) {
	if len(v) < revisionSize {
		return 0, nil, errors.New("an entry is too short")
	}
	return int64(binary.BigEndian.Uint64(v)), v[revisionSize:], nil
}
