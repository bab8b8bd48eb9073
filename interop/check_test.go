package interop

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"go4.org/mem"
)

// check fails the test with a sentence and the error that contradicts it.
func check(t testing.TB, sentence string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", sentence, err)
	}
}

// equal fails the test unless what is equals what should be.
func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s is %v, not %v", what, got, want)
	}
}

// memRO is a byte slice in the form in which Tailscale's keys are made of it.
func memRO(b []byte) mem.RO { return mem.B(b) }

// within returns a context for one step, which must not take longer.
func within(t testing.TB, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// eventually fails the test unless f returns nil within twenty seconds. The
// error of its last run says what was missing.
func eventually(t testing.TB, sentence string, f func(context.Context) error) {
	t.Helper()
	if err := poll(within(t, 20*time.Second), f); err != nil {
		t.Fatalf("not so: %s: %v", sentence, err)
	}
}

// poll runs f until it returns nil or ctx ends; then it returns the last error
// of f.
func poll(ctx context.Context, f func(context.Context) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}
