package coord

import (
	"context"
	"errors"
	"iter"
)

// Store keeps what the coordinators of a tailnet must not forget, as entries by
// key: one for each node, user, auth key and so on. Everything is in the
// store, and a [Server] has but a copy of it in memory, so that several can
// serve one tailnet from one store, each seeing what the others do.
//
// Values hold a private key and hashes of secrets: keep them to yourself.
// Methods may be called concurrently. What a store is handed it does not
// change, and neither is changed what it returns. Package storetest checks all
// that is said here.
type Store interface {
	// Follow returns all entries there are, and then yields what changes:
	// for each later commit its entries, in the order of revisions, those of
	// this caller's own commits among them. A yielded error is the last word:
	// the caller follows anew. It ends with ctx.
	Follow(ctx context.Context) (all []Entry, later iter.Seq2[[]Entry, error], err error)

	// Commit makes all the changes or none of them, and returns the revision
	// of their entries, which is greater than all before. When it has returned,
	// they survive a crash. When an entry is not what a change says it was,
	// nothing is done and the error is [ErrConflict]. After any other error it is
	// unknown whether the changes were made.
	Commit(ctx context.Context, changes []Change) (revision int64, err error)
}

// Entry is what a [Store] keeps under a key.
type Entry struct {
	Key      string // such as "node/17"
	Value    []byte // nil: there is none any more
	Revision int64  // of the commit that wrote it
}

// Change is an entry to be written.
type Change struct {
	Key   string
	Value []byte // nil deletes the entry
	// Was is the revision of the entry that is replaced. Zero means that there
	// must be none.
	Was int64
}

// ErrConflict is what [Store.Commit] returns when somebody else was first.
var ErrConflict = errors.New("a record was changed by another coordinator")
