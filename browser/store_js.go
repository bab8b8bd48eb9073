package browser

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall/js"

	"github.com/meshnet-go/meshnet"
)

// values is the object store of our databases: from name to Uint8Array.
const values = "values"

// NewStore returns a Store in an IndexedDB database of the page's origin, which
// it makes when there is none. Each node needs one of its own, and one page at a
// time may use it: two that are the same node take the relay from each other.
//
// Every script of the origin can read the keys in it. A browser may forget the
// database when it is short of space, unless the page has asked for
// navigator.storage.persist().
func NewStore(name string) (_ meshnet.Store, err error) {
	factory := js.Global().Get("indexedDB")
	if !factory.Truthy() {
		return nil, errors.New("there is no IndexedDB here")
	}
	defer caught(&err, "opening the database", name)
	opening := factory.Call("open", name, 1)
	upgrade := js.FuncOf(func(js.Value, []js.Value) any {
		opening.Get("result").Call("createObjectStore", values)
		return nil
	})
	defer upgrade.Release()
	opening.Set("onupgradeneeded", upgrade)
	if err := settled(opening, "onsuccess", "onerror"); err != nil {
		return nil, fmt.Errorf("opening the database %q: %w", name, err)
	}
	return &store{opening.Get("result")}, nil
}

type store struct{ db js.Value }

// Format implements [fmt.Formatter]: no verb shows what is stored.
func (s *store) Format(f fmt.State, _ rune) { io.WriteString(f, "[browser store]") }

func (s *store) Load(name string) (value []byte, err error) {
	defer caught(&err, "reading", name)
	request := s.begin("readonly").Call("objectStore", values).Call("get", name)
	if err := settled(request, "onsuccess", "onerror"); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	stored := request.Get("result")
	if stored.IsUndefined() {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if !stored.InstanceOf(js.Global().Get("Uint8Array")) {
		return nil, fmt.Errorf("%s is not what this Store has saved", name)
	}
	value = make([]byte, stored.Length())
	js.CopyBytesToGo(value, stored)
	return value, nil
}

func (s *store) Save(name string, value []byte) (err error) {
	defer caught(&err, "saving", name)
	transaction := s.begin("readwrite")
	objects := transaction.Call("objectStore", values)
	if len(value) == 0 {
		objects.Call("delete", name)
	} else {
		array := js.Global().Get("Uint8Array").New(len(value))
		js.CopyBytesToJS(array, value)
		objects.Call("put", array, name)
	}
	if err := settled(transaction, "oncomplete", "onabort"); err != nil {
		return fmt.Errorf("saving %s: %w", name, err)
	}
	return nil
}

// caught makes an error of what IndexedDB throws, instead of events: where a page
// may store nothing, and when the person has deleted what it had stored.
func caught(err *error, doing, name string) {
	switch thrown := recover().(type) {
	case nil:
	case js.Error:
		*err = fmt.Errorf("%s %s: IndexedDB: %w", doing, name, thrown)
	default:
		panic(thrown)
	}
}

// begin starts a transaction that is on the disk when it is complete.
func (s *store) begin(mode string) js.Value {
	return s.db.Call("transaction", values, mode, map[string]any{"durability": "strict"})
}

// settled waits until one of two events comes to a request or a transaction,
// and returns its error after the second. Nothing else may run between the
// making of it and the handlers, so that no event is missed: Go gives the turn
// to others only where it waits.
func settled(of js.Value, good, bad string) error {
	done := make(chan error, 1)
	onGood := js.FuncOf(func(js.Value, []js.Value) any {
		done <- nil
		return nil
	})
	defer onGood.Release()
	onBad := js.FuncOf(func(js.Value, []js.Value) any {
		err := errors.New("IndexedDB: it was broken off")
		if thrown := of.Get("error"); thrown.Truthy() {
			err = fmt.Errorf("IndexedDB: %w", js.Error{Value: thrown})
		}
		done <- err
		return nil
	})
	defer onBad.Release()
	of.Set(good, onGood)
	of.Set(bad, onBad)
	return <-done
}
