// Package storetest checks that a [coord.Store] is one. It is for the tests of
// those who write one.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/coord"
)

// patience is how long a store may take to tell of a commit.
const patience = 10 * time.Second

// Run checks the store, which is empty, and closed by the caller.
func Run(t *testing.T, s coord.Store) {
	r := &run{t: t, store: s}
	r.commits()
	r.conflicts()
	r.follows()
	r.counts()
}

type run struct {
	t     *testing.T
	store coord.Store
}

// commit commits and returns the revision.
func (r *run) commit(what string, changes ...coord.Change) int64 {
	r.t.Helper()
	revision, err := r.store.Commit(r.t.Context(), changes)
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	return revision
}

// want checks what the store holds.
func (r *run) want(what string, want map[string]string) {
	r.t.Helper()
	all, _, err := r.store.Follow(r.t.Context())
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	got := make(map[string]string)
	for _, e := range all {
		got[e.Key] = string(e.Value)
	}
	if len(got) != len(all) || !maps.Equal(got, want) {
		r.t.Errorf("%s: the store holds %s, want %q", what, show(all), want)
	}
}

func (r *run) commits() {
	r.want("at first", map[string]string{})
	first := r.commit("two new entries", coord.Change{Key: "a", Value: []byte("1")}, coord.Change{Key: "b/1", Value: []byte{}})
	r.want("two new entries", map[string]string{"a": "1", "b/1": ""})
	second := r.commit("an entry is replaced, another deleted, a third made",
		coord.Change{Key: "a", Value: []byte("2"), Was: first}, coord.Change{Key: "b/1", Was: first}, coord.Change{Key: "c", Value: []byte("3")})
	r.want("after three changes", map[string]string{"a": "2", "c": "3"})
	third := r.commit("what was deleted is made anew", coord.Change{Key: "b/1", Value: []byte("4")})
	if second <= first || third <= second {
		r.t.Errorf("the revisions of three commits are %d, %d and %d", first, second, third)
	}
	r.commit("cleared", coord.Change{Key: "a", Was: second}, coord.Change{Key: "c", Was: second}, coord.Change{Key: "b/1", Was: third})
	r.want("cleared", map[string]string{})
}

func (r *run) conflicts() {
	old := r.commit("made", coord.Change{Key: "a", Value: []byte("old")})
	is := r.commit("replaced", coord.Change{Key: "a", Value: []byte("new"), Was: old})
	other := coord.Change{Key: "b", Value: []byte("never")}
	for what, c := range map[string]coord.Change{
		"replacing an older revision": {Key: "a", Value: []byte("x"), Was: old},
		"deleting an older revision":  {Key: "a", Was: old},
		"making what there is":        {Key: "a", Value: []byte("x")},
		"replacing what there is not": {Key: "none", Value: []byte("x"), Was: is},
		"deleting what there is not":  {Key: "none", Was: is},
	} {
		if _, err := r.store.Commit(r.t.Context(), []coord.Change{other, c}); !errors.Is(err, coord.ErrConflict) {
			r.t.Errorf("%s: got %v, want ErrConflict", what, err)
		}
	}
	r.want("after conflicts, of which nothing may be seen", map[string]string{"a": "new"})
	done, cancel := context.WithCancel(r.t.Context())
	cancel()
	if _, err := r.store.Commit(done, []coord.Change{other}); err == nil {
		r.t.Error("committed although the context was done")
	}
	r.commit("cleared", coord.Change{Key: "a", Was: is})
}

func (r *run) follows() {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	before := r.commit("before", coord.Change{Key: "a", Value: []byte("0")})
	all, later, err := r.store.Follow(ctx)
	if err != nil || len(all) != 1 || all[0].Revision != before {
		r.t.Fatalf("follow: %s, %v; want the entry of revision %d", show(all), err, before)
	}
	next, stop := iter.Pull2(later)
	defer stop()
	one := r.commit("two entries", coord.Change{Key: "a", Value: []byte("1"), Was: before}, coord.Change{Key: "b", Value: []byte("1")})
	two := r.commit("a deletion", coord.Change{Key: "a", Was: one})
	r.told(next, fmt.Sprintf("a=1@%d b=1@%d", one, one))
	r.told(next, fmt.Sprintf("a!@%d", two))
	r.commit("cleared", coord.Change{Key: "b", Was: one})
	cancel()
	for commit, err, ok := next(); ok; commit, err, ok = next() {
		if err == nil && len(commit) != 1 {
			r.t.Errorf("after the context: told %s", show(commit))
		}
	}
}

// told checks what is told of the next commit.
func (r *run) told(next func() ([]coord.Entry, error, bool), want string) {
	r.t.Helper()
	commit, err, ok := next()
	if err != nil || !ok {
		r.t.Fatalf("told nothing: %v; want %s", err, want)
	}
	if got := show(commit); got != want {
		r.t.Errorf("told %s, want %s", got, want)
	}
}

// show writes entries as "key=value@revision", or "key!@revision" for one that
// is gone.
func show(entries []coord.Entry) string {
	var shown []string
	for _, e := range entries {
		value := "=" + string(e.Value)
		if e.Value == nil {
			value = "!"
		}
		shown = append(shown, fmt.Sprintf("%s%s@%d", e.Key, value, e.Revision))
	}
	slices.Sort(shown)
	return strings.Join(shown, " ")
}

// counts has several count together: nobody's step may be lost.
func (r *run) counts() {
	const counters, steps = 4, 25
	var wg sync.WaitGroup
	for range counters {
		wg.Go(func() {
			for range steps {
				r.count()
			}
		})
	}
	wg.Wait()
	r.want("counted together", map[string]string{"count": strings.Repeat("x", counters*steps)})
}

// count adds one, however often somebody else is first.
func (r *run) count() {
	for r.t.Context().Err() == nil {
		all, _, err := r.store.Follow(r.t.Context())
		if err != nil {
			r.t.Error(err)
			return
		}
		c := coord.Change{Key: "count"}
		for _, e := range all {
			if e.Key == c.Key {
				c.Value, c.Was = e.Value, e.Revision
			}
		}
		c.Value = append(bytes.Clone(c.Value), 'x')
		if _, err = r.store.Commit(r.t.Context(), []coord.Change{c}); err == nil {
			return
		} else if !errors.Is(err, coord.ErrConflict) {
			r.t.Error(err)
			return
		}
	}
}
