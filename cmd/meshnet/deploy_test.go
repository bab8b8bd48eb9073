package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const deploy = root + "/examples/deploy/"

// systemd understands all of the unit.
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	unit, err := os.ReadFile(deploy + "meshnet@.service")
	if err != nil {
		t.Fatal(err)
	}
	// It wants a program that is there.
	here := strings.ReplaceAll(string(unit), "/usr/local/bin/meshnet ", os.Args[0]+" ")
	file := filepath.Join(t.TempDir(), "meshnet@.service")
	if err := os.WriteFile(file, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(testCtx(t), analyze, "verify", "--man=no", file).CombinedOutput()
	if err != nil || strings.Contains(string(out), "meshnet@") {
		t.Errorf("%v: %s", err, out)
	}
}

// The variables with which a coordinator is deployed are its flags.
func TestDeployedVariables(t *testing.T) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	new(coordConfig).addFlags(fs)
	flags := make(map[string]bool)
	fs.VisitAll(func(f *flag.Flag) { flags[variable(f.Name)] = true })
	for _, name := range []string{"coord.env", "Containerfile"} {
		text, err := os.ReadFile(deploy + name)
		if err != nil {
			t.Fatal(err)
		}
		used := regexp.MustCompile(`MESHNET_[A-Z_]+`).FindAllString(string(text), -1)
		if len(used) == 0 {
			t.Errorf("%s uses no variable", name)
		}
		for _, v := range used {
			if !flags[v] {
				t.Errorf("%s: %s is no flag of meshnet coord", name, v)
			}
		}
	}
}
