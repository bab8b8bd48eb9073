package browser

import (
	"strings"
	"syscall/js"
	"testing"
)

// A browser that lets a page store nothing throws; so does one whose database was
// deleted meanwhile. The test runs in Node.js, which has no IndexedDB:
//
//	PATH=$PATH:$(go env GOROOT)/lib/wasm GOOS=js GOARCH=wasm go test ./browser
func TestStoreThatIsDenied(t *testing.T) {
	throwing := js.Global().Get("Function").New(`throw new Error("denied")`)
	js.Global().Set("indexedDB", map[string]any{"open": throwing})
	defer js.Global().Delete("indexedDB")
	if _, err := NewStore("node"); err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("opening: %v", err)
	}
	s := &store{js.ValueOf(map[string]any{"transaction": throwing})}
	if _, err := s.Load("key"); err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("loading: %v", err)
	}
	if err := s.Save("key", []byte("value")); err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("saving: %v", err)
	}
}
