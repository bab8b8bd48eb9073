package interop

import (
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"testing"
	"time"
)

// startNode starts the process of a node in a namespace, and returns a client of
// its LabNode. The process ends with the test, or when the test's own does.
func startNode(t *testing.T, ns *namespace, name string, env ...string) *rpc.Client {
	t.Helper()
	program, err := os.Executable()
	check(t, "there is a test program", err)
	cmd := exec.Command(program)
	cmd.Env = append(append(os.Environ(), env...), nodeVariable+"="+name)
	cmd.Stderr = newLog(t, name)
	stdin, err := cmd.StdinPipe()
	check(t, "there is a standard input", err)
	stdout, err := cmd.StdoutPipe()
	check(t, "there is a standard output", err)
	check(t, name+" starts", ns.start(cmd))
	client := jsonrpc.NewClient(pipes{stdout, stdin})
	t.Cleanup(func() {
		client.Close() // and so standard input
		kill := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		check(t, name+" ends", cmd.Wait())
	})
	return client
}
