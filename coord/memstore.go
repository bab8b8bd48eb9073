package coord

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/meshnet-go/meshnet/coord/internal/feed"
)

// NewMemoryStore returns a store that lives as long as the program. Several
// servers may share it.
func NewMemoryStore() Store { return &memoryStore{entries: make(map[string]Entry)} }

type memoryStore struct {
	mu       sync.Mutex
	entries  map[string]Entry
	revision int64
	feed     feed.Feed[[]Entry]
}

// Format implements [fmt.Formatter]: no verb shows what is stored, which includes
// the coordinator's key.
func (m *memoryStore) Format(f fmt.State, _ rune) { io.WriteString(f, "[memory store]") }

func (m *memoryStore) Follow(ctx context.Context) ([]Entry, iter.Seq2[[]Entry, error], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.entries)), m.feed.Follow(ctx), ctx.Err()
}

func (m *memoryStore) Commit(ctx context.Context, changes []Change) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	for _, c := range changes {
		if m.entries[c.Key].Revision != c.Was {
			return 0, ErrConflict
		}
	}
	m.revision++
	var told []Entry
	for _, c := range changes {
		e := Entry{Key: c.Key, Value: c.Value, Revision: m.revision}
		if told = append(told, e); c.Value == nil {
			delete(m.entries, c.Key)
		} else {
			m.entries[c.Key] = e
		}
	}
	m.feed.Publish(told)
	return m.revision, nil
}
