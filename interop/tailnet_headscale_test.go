package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	tstailcfg "tailscale.com/tailcfg"
)

// headscale is a tailnet whose coordinator is Headscale: a child process on
// loopback with a configuration and a database of its own.
type headscale struct {
	tailnet
	binary  string
	dir     string // of everything it keeps
	address string // where it listens, the same after a restart
	user    string // the ID of the user to whom the auth keys belong
	log     *nodeLog

	process *exec.Cmd
	exited  chan error // receives how process ended
}

// startHeadscale starts a Headscale with one user, and Tailscale's relay.
func startHeadscale(t *testing.T) *headscale {
	t.Helper()
	const suffix = "mesh.test"
	binary, err := headscaleBinary()
	check(t, "Headscale is built", err)
	h := &headscale{
		binary:  binary,
		dir:     shortTempDir(t),
		address: unusedAddress(t),
		log:     newLog(t, "headscale"),
	}
	h.tailnet = tailnet{
		kind:       "headscale",
		controlURL: "http://" + h.address,
		suffix:     suffix,
		authKey:    func(t *testing.T) string { return h.newAuthKey(t) },
	}
	h.configure(t, serveJSON(t, theirRelay(t)))
	t.Cleanup(func() { check(t, "Headscale stops", h.stop()) })
	h.start(t)

	var user struct{ ID uint64 }
	h.command(t, &user, "users", "create", "alice")
	h.user = strconv.FormatUint(user.ID, 10)
	return h
}

// headscaleBinary builds Headscale into the build cache and returns where it
// is. That takes minutes with an empty cache, and then a second.
var headscaleBinary = sync.OnceValues(func() (string, error) { return toolPath("headscale", "headscale") })

// configure writes Headscale's configuration: JSON, because that is YAML too.
func (h *headscale) configure(t *testing.T, derpMapURL string) {
	t.Helper()
	type section map[string]any
	config, err := json.Marshal(section{
		"server_url":          h.controlURL,
		"listen_addr":         h.address,
		"metrics_listen_addr": net.JoinHostPort(loopback, "0"),
		"unix_socket":         filepath.Join(h.dir, "socket"),
		"noise":               section{"private_key_path": filepath.Join(h.dir, "noise.key")},
		"database": section{
			"type":   "sqlite",
			"sqlite": section{"path": filepath.Join(h.dir, "db.sqlite")},
		},
		"prefixes": section{"v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48"},
		"dns":      section{"base_domain": h.suffix, "override_local_dns": false},
		"policy":   section{"mode": "database"}, // none yet: everybody may everything
		"derp":     section{"urls": []string{derpMapURL}, "auto_update_enabled": false},
		// The least that Headscale takes.
		"ephemeral_node_inactivity_timeout": "66s",
		"disable_check_updates":             true,
	})
	check(t, "the configuration is JSON", err)
	check(t, "the configuration is written", os.WriteFile(h.configPath(), config, 0o600))
}

func (h *headscale) configPath() string { return filepath.Join(h.dir, "config.yaml") }

// start starts the process and waits until it serves.
func (h *headscale) start(t *testing.T) {
	t.Helper()
	h.process = h.exec(context.Background(), "serve")
	h.process.Stdout, h.process.Stderr = h.log, h.log
	check(t, "Headscale starts", h.process.Start())
	process, exited := h.process, make(chan error, 1)
	h.exited = exited
	go func() { exited <- process.Wait() }()

	eventually(t, "Headscale serves", func(ctx context.Context) error {
		select {
		case err := <-exited:
			exited <- err // for stop
			t.Fatalf("Headscale ended: %v", err)
		default:
		}
		return h.healthy(ctx)
	})
}

func (h *headscale) healthy(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, "GET", h.controlURL+"/health", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// stop asks the process to end, and ends it when it does not comply.
func (h *headscale) stop() error {
	if h.process == nil {
		return nil
	}
	process := h.process.Process
	h.process = nil
	if err := process.Signal(os.Interrupt); err != nil {
		return errors.Join(err, process.Kill())
	}
	const patience = 10 * time.Second
	select {
	case err := <-h.exited:
		return err
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("it still ran after %v", patience), process.Kill())
	}
}

// crash ends the process without a warning.
func (h *headscale) crash(t *testing.T) {
	t.Helper()
	check(t, "Headscale is killed", h.process.Process.Kill())
	h.process = nil
	<-h.exited
}

// exec prepares a Headscale command. Headscale lets the environment override
// its configuration, so that it gets none.
func (h *headscale) exec(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, h.binary, append(args, "--config", h.configPath())...)
	cmd.Env = []string{"HOME=" + h.dir}
	return cmd
}

// command runs a command of Headscale's command line, which talks to the
// process through its Unix socket, and reads the answer into result.
func (h *headscale) command(t *testing.T, result any, args ...string) {
	t.Helper()
	name := "headscale " + strings.Join(args, " ")
	cmd := h.exec(within(t, 20*time.Second), append(args, "--output", "json")...)
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, output)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(output, result); err != nil {
		t.Fatalf("%s answers %q: %v", name, output, err)
	}
}

// newAuthKey makes a key that admits nodes, within the hour; one node, unless
// the flags have --reusable.
func (h *headscale) newAuthKey(t *testing.T, flags ...string) string {
	t.Helper()
	var authKey struct{ Key string }
	h.command(t, &authKey, append([]string{"preauthkeys", "create", "--user", h.user}, flags...)...)
	return authKey.Key
}

// withKey is the same tailnet to nodes that join with that auth key.
func (h *headscale) withKey(authKey string) *tailnet {
	n := h.tailnet
	n.authKey = func(*testing.T) string { return authKey }
	return &n
}

// headscaleNode is what Headscale's command line says of a node.
type headscaleNode struct {
	ID        uint64
	GivenName string `json:"given_name"`
	NodeKey   string `json:"node_key"`
	Online    bool
	Expiry    *struct{ Seconds int64 }
	AuthKey   struct{ Ephemeral bool } `json:"pre_auth_key"`
}

// expired tells whether the node's key is no longer valid. Headscale writes
// the zero time where there is no end to it.
func (n headscaleNode) expired() bool {
	if n.Expiry == nil {
		return false
	}
	expiry := time.Unix(n.Expiry.Seconds, 0)
	return expiry.Year() > 1 && expiry.Before(time.Now())
}

// nodes returns the nodes that Headscale knows, by name.
func (h *headscale) nodes(t *testing.T) map[string]headscaleNode {
	t.Helper()
	var list []headscaleNode
	h.command(t, &list, "nodes", "list")
	nodes := make(map[string]headscaleNode)
	for _, n := range list {
		nodes[n.GivenName] = n
	}
	return nodes
}

// setPolicy replaces the policy that says who may reach whom.
func (h *headscale) setPolicy(t *testing.T, policy string) {
	t.Helper()
	file := filepath.Join(h.dir, "policy.json")
	check(t, "the policy is written", os.WriteFile(file, []byte(policy), 0o600))
	h.command(t, nil, "policy", "set", "--file", file)
}

// expire ends the validity of a node's key.
func (h *headscale) expire(t *testing.T, host string) {
	t.Helper()
	h.command(t, nil, "nodes", "expire", "--identifier", h.id(t, host))
}

// remove deletes a node.
func (h *headscale) remove(t *testing.T, host string) {
	t.Helper()
	h.command(t, nil, "nodes", "delete", "--force", "--identifier", h.id(t, host))
}

func (h *headscale) id(t *testing.T, host string) string {
	t.Helper()
	node, ok := h.nodes(t)[host]
	if !ok {
		t.Fatalf("Headscale does not know %s", host)
	}
	return strconv.FormatUint(node.ID, 10)
}

// serveJSON serves a relay map in the form in which Headscale fetches it.
func serveJSON(t *testing.T, relays *tstailcfg.DERPMap) (url string) {
	t.Helper()
	text, err := json.Marshal(relays)
	check(t, "the relay map is JSON", err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(text) }))
	t.Cleanup(server.Close)
	return server.URL
}

// shortTempDir is a directory whose name leaves room for that of a Unix
// socket, which t.TempDir may not.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "headscale")
	check(t, "there is a temporary directory", err)
	t.Cleanup(func() { check(t, "the temporary directory is removed", os.RemoveAll(dir)) })
	return dir
}

// unusedAddress returns an address at which nobody listens at the moment.
func unusedAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	check(t, "there is an unused port", err)
	defer ln.Close()
	return ln.Addr().String()
}
