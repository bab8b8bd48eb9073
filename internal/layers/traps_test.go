package layers

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	trapRow  = regexp.MustCompile("(?m)^\\| .* \\| (`Test.*`) \\| `(.*)` \\|$")
	testName = regexp.MustCompile("Test[A-Za-z0-9]+")
)

// The table of traps names a test for each, which is there.
func TestTrapsHaveTests(t *testing.T) {
	text, err := os.ReadFile("../../docs/traps.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]string) // the test files of a folder, as one text
	rows := trapRow.FindAllStringSubmatch(string(text), -1)
	if lines := strings.Count(string(text), "\n| ") - strings.Count(string(text), "| the trap |"); len(rows) < lines {
		t.Errorf("%d of %d rows of docs/traps.md are of the form that is understood", len(rows), lines)
	}
	for _, row := range rows {
		dir := row[2]
		if _, ok := tests[dir]; !ok {
			tests[dir] = testsOf(t, dir)
		}
		for _, name := range testName.FindAllString(row[1], -1) {
			if !strings.Contains(tests[dir], "\nfunc "+name+"(") {
				t.Errorf("docs/traps.md names %s, which is not in %s", name, dir)
			}
		}
	}
}

// testsOf returns the text of a package's tests.
func testsOf(t *testing.T, dir string) string {
	t.Helper()
	if dir == "meshnet" {
		dir = "."
	}
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
