package coord

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestFileStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "coord.json")
	s := NewFileStore(path)
	if data, err := s.Load(); data != nil || err != nil {
		t.Fatalf("a store that never was holds %q, %v", data, err)
	}
	for _, data := range []string{"one", "another", ""} {
		if err := s.Save([]byte(data)); err != nil {
			t.Fatal(err)
		}
		if got, err := NewFileStore(path).Load(); string(got) != data || err != nil {
			t.Errorf("loaded %q, %v; saved %q", got, err, data)
		}
	}
	if fi, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && fi.Mode() != 0o600 {
		t.Errorf("the file's mode is %v, %v; want only the owner to read it", fi.Mode(), err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	if err := NewFileStore(filepath.Join(path, "below-a-file")).Save(nil); err == nil {
		t.Error("saved below a file")
	}
}
