package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tailscale.com/ipn/ipnstate"

	"github.com/meshnet-go/meshnet/key"
)

var (
	tailscaledBinary = sync.OnceValues(func() (string, error) { return toolPath(".", "tailscaled") })
	tailscaleBinary  = sync.OnceValues(func() (string, error) { return toolPath(".", "tailscale") })
)

// tailscaled is Tailscale's daemon on a host of the NAT laboratory, without a
// network device, and the command by which people use it.
type tailscaled struct {
	*process
	host    *namespace
	name    string
	command string // tailscale's path
	socket  string
	env     []string
}

// startTailscaled starts a daemon that is no member of any tailnet yet. What it
// logs by the end of the test must be free of errors.
func startTailscaled(t *testing.T, host *namespace, name string, env ...string) *tailscaled {
	t.Helper()
	program, err := tailscaledBinary()
	check(t, "tailscaled is built", err)
	command, err := tailscaleBinary()
	check(t, "tailscale is built", err)
	dir := shortTempDir(t)
	d := &tailscaled{
		host:    host,
		name:    name,
		command: command,
		socket:  filepath.Join(dir, "socket"),
		env: append(env,
			"TS_LOGS_DIR="+dir,        // and not /var/lib
			"TS_DEBUG_LOG_RATE=all",   // every line
			"TS_DISABLE_PORTMAPPER=1", // the laboratory's routers have none
			"TS_NO_LOGS_NO_SUPPORT=true",
		),
	}
	d.process = startProcessBy(t, host.start, name, d.env, program,
		"--tun=userspace-networking", "--statedir", dir, "--socket", d.socket, "--port=0", "--no-logs-no-support")
	t.Cleanup(func() { d.stop(t) })
	eventually(t, name+" listens to its users", func(context.Context) error {
		_, err := os.Stat(d.socket)
		return err
	})
	return d
}

// stop ends the daemon and judges its log.
func (d *tailscaled) stop(t *testing.T) {
	t.Helper()
	check(t, d.name+" is asked to end", d.terminate())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // t.Context has ended
	defer cancel()
	check(t, d.name+" ends", d.end(ctx))
	for _, line := range errorLines(d.output.String()) {
		t.Errorf("%s logs an error: %s", d.name, line)
	}
}

// tailscale prepares the command with arguments.
func (d *tailscaled) tailscale(ctx context.Context, args ...string) *exec.Cmd {
	return command(ctx, d.env, d.command, append([]string{"--socket", d.socket}, args...)...)
}

// does runs the command to its end, which must be a good one, and returns what
// it printed on standard output.
func (d *tailscaled) does(t *testing.T, args ...string) string {
	t.Helper()
	cmd := d.tailscale(within(t, 40*time.Second), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := d.host.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%s: tailscale %s: %v: %s%s", d.name, strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}

// says runs the command, which must print some texts.
func (d *tailscaled) says(t *testing.T, args []string, texts ...string) {
	t.Helper()
	got := d.does(t, args...)
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("%s: tailscale %s does not print %q: %s", d.name, strings.Join(args, " "), text, got)
		}
	}
}

// answers runs the command and reads the JSON that it prints.
func answers[T any](t *testing.T, d *tailscaled, args ...string) (answer T) {
	t.Helper()
	text := d.does(t, args...)
	check(t, "tailscale "+strings.Join(args, " ")+" prints JSON", json.Unmarshal([]byte(text), &answer))
	return answer
}

func (d *tailscaled) status(t *testing.T) ipnstate.Status {
	t.Helper()
	return answers[ipnstate.Status](t, d, "status", "--json")
}

// member returns where others find the node.
func (d *tailscaled) member(t *testing.T) Member {
	t.Helper()
	self := d.status(t).Self
	return Member{Key: key.NodePublicFromRaw32(self.PublicKey.Raw32()), IP: self.TailscaleIPs[0]}
}

// nc has the command connect to a port, and sends a line there that must come
// back.
func (d *tailscaled) nc(t *testing.T, host, port string) {
	t.Helper()
	line := "by nc to " + host + "\n"
	cmd, stdin, printed := d.startNC(t, host, port)
	_, err := io.WriteString(stdin, line)
	check(t, "nc is given a line", err)
	eventually(t, d.name+" reaches port "+port+" of "+host, func(context.Context) error {
		if got := printed.String(); got != line {
			return errors.New("nc prints: " + got)
		}
		return nil
	})
	stdin.Close() // and so it ends
	check(t, "nc ends", cmd.Wait())
}

// startNC starts the command that connects to a port, which ends when its
// standard input or the connection does.
func (d *tailscaled) startNC(t *testing.T, host, port string) (cmd *exec.Cmd, stdin io.WriteCloser, printed *output) {
	t.Helper()
	cmd = d.tailscale(within(t, 30*time.Second), "nc", host, port)
	printed = &output{also: io.Discard}
	cmd.Stdout, cmd.Stderr = printed, printed
	stdin, err := cmd.StdinPipe()
	check(t, "nc has an input", err)
	check(t, "nc starts", d.host.start(cmd))
	return cmd, stdin, printed
}
