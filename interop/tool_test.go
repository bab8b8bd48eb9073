package interop

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
)

// toolPath builds a tool of the module in a directory, into the build cache, and
// returns where it is.
func toolPath(dir, name string) (string, error) {
	build := exec.Command("go", "tool", "-n", name)
	build.Dir = dir
	var stderr bytes.Buffer
	build.Stderr = &stderr
	path, err := build.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	return strings.TrimSpace(string(path)), nil
}
