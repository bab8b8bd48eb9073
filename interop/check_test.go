package interop

import (
	"reflect"
	"testing"

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
