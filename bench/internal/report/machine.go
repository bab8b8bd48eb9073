package report

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Machine is where and when a run took place.
type Machine struct {
	Time   time.Time
	CPU    string
	Cores  int
	Memory string
	Kernel string
	Go     string
	Load   string // of the last minute, before the run: others who use the machine
}

// String is a sentence.
func (m Machine) String() string {
	return fmt.Sprintf("%s. %d cores of %s, %s, Linux %s, %s. Load before the run: %s.",
		m.Time.Format(time.DateOnly), m.Cores, m.CPU, m.Memory, m.Kernel, m.Go, m.Load)
}

// interesting are the modules whose versions a reader wants to know.
var interesting = []string{
	"tailscale.com", "github.com/slackhq/nebula", "golang.zx2c4.com/wireguard", "github.com/tailscale/wireguard-go", "gvisor.dev/gvisor",
}

// Describe fills in the machine and the versions of the module in a directory.
func (r *Report) Describe(dir string) {
	r.Machine = Machine{
		Time:   time.Now(),
		CPU:    field("/proc/cpuinfo", "model name"),
		Cores:  runtime.NumCPU(),
		Memory: field("/proc/meminfo", "MemTotal"),
		Kernel: firstWord("/proc/sys/kernel/osrelease"),
		Go:     runtime.Version(),
		Load:   firstWord("/proc/loadavg"),
	}
	r.Versions = make(map[string]string)
	list := exec.Command("go", append([]string{"list", "-m", "-json"}, interesting...)...)
	list.Dir = dir
	out, err := list.StdoutPipe()
	if err != nil || list.Start() != nil {
		return // the report says less
	}
	for modules := json.NewDecoder(out); ; {
		var m struct{ Path, Version string }
		if modules.Decode(&m) != nil {
			break
		}
		r.Versions[m.Path] = m.Version
	}
	list.Wait()
	commit := exec.Command("git", "describe", "--always", "--dirty")
	commit.Dir = dir
	if text, err := commit.Output(); err == nil {
		r.Versions["meshnet"] = strings.TrimSpace(string(text))
	}
}

// field reads a line "name : value" of a file of the kernel's.
func field(file, name string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimLeft(strings.TrimSpace(rest), ": \t")
		}
	}
	return "unknown"
}

func firstWord(file string) string {
	text, err := os.ReadFile(file)
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 0 {
		return fields[0]
	}
	return "unknown"
}
