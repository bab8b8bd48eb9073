package interop

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Programs that nobody here wrote reach the mesh through meshnet proxy and
// through examples/socks5proxy, which run as a user runs them.
func TestProxy(t *testing.T) {
	n := newProxyNet(t)
	n.startsCarefully(t, n.meshnet)
	n.startsCarefully(t, n.example)

	const password = "correct:horse/battery+staple"
	open := n.startMeshnetProxy(t, proxyOptions{hostname: "open"})
	closed := n.startMeshnetProxy(t, proxyOptions{hostname: "closed", listen: "[::1]:0", user: "alice", password: password, args: []string{"-verbose"}})
	example := n.startExample(t, proxyOptions{hostname: "example", user: "bob", password: password})
	library := n.startLoopback(t, "library")

	strangers := beStrange(t, open) // hold their connections while the others work
	n.curlReachesTheMesh(t, open)
	n.curlGivesThePassword(t, closed, example, library)
	n.curlCarriesBulk(t, open)
	n.curlIsToldWhatFailed(t, open)
	n.sshAndNetcat(t, open)
	n.proxychains(t, open, example)
	n.goPrograms(t, open, example)
	n.chromium(t, open)
	n.datagrams(t, open, example)
	n.activeFTP(t, open, example)
	n.forwards(t, closed)
	n.thousandConnections(t, open)
	n.hostileClients(t, open)
	strangers.areDismissed(t, open)
	for _, p := range []*proxy{open, closed, example} {
		n.stopsGracefully(t, p)
	}
	n.stopsAtOnce(t, n.startMeshnetProxy(t, proxyOptions{hostname: "patient", args: []string{"-grace", "1h"}}))
}

// proxyNet is a tailnet with one node that serves, and what the proxies into
// it are made of.
type proxyNet struct {
	*ownTailnet
	web              *webNode
	meshnet, example executable
}

func newProxyNet(t *testing.T) *proxyNet {
	t.Helper()
	missing(t, "curl", "ssh", "ssh-keygen", "nc", "/usr/bin/python3", "proxychains4", "socksify", "drill")
	tailnet := ourTailnet(t)
	dir := buildProxies(t)
	return &proxyNet{
		ownTailnet: tailnet,
		web:        startWeb(t, tailnet),
		meshnet:    executable{"meshnet proxy", filepath.Join(dir, "meshnet"), []string{"proxy"}},
		example:    executable{"socks5proxy", filepath.Join(dir, "socks5proxy"), nil},
	}
}

// executable is one of the programs that serve proxies.
type executable struct {
	name string // in the table
	path string
	args []string // before all others
}

// proxy is a proxy under test, and what its users know of it.
type proxy struct {
	name           string // in the table
	addr           string // where it serves
	user, password string // empty: none needed

	process *process // nil: serves in this process
	secrets []string // that its log must not have
}

// try runs one cell of the table.
func (p *proxy) try(t *testing.T, program, what string, cell func(context.Context) (note string, err error)) {
	t.Helper()
	t.Run(p.name+"/"+program+"/"+what, func(t *testing.T) {
		note, err := cell(within(t, 30*time.Second))
		matrix.add(row{"proxy", program, p.name, what, err, note})
		if err != nil {
			t.Error(err)
		}
	})
}

func (p *proxy) port() string {
	_, port, _ := net.SplitHostPort(p.addr)
	return port
}

// proxyOptions are what a user chooses when starting a proxy.
type proxyOptions struct {
	hostname       string
	listen         string // empty: any port of 127.0.0.1
	user, password string
	args           []string // further flags
}

// startLoopback returns the proxy that a Go program gets of Server.Loopback.
func (n *proxyNet) startLoopback(t *testing.T, hostname string) *proxy {
	t.Helper()
	addr, credential, err := n.startMeshnet(t, hostname).Loopback()
	check(t, "the node serves proxies on loopback", err)
	return &proxy{name: "Loopback", addr: addr, user: "anybody", password: credential}
}

// startExample starts examples/socks5proxy.
func (n *proxyNet) startExample(t *testing.T, o proxyOptions) *proxy {
	t.Helper()
	return n.start(t, n.example, o)
}

// startMeshnetProxy starts meshnet proxy.
func (n *proxyNet) startMeshnetProxy(t *testing.T, o proxyOptions) *proxy {
	t.Helper()
	return n.start(t, n.meshnet, o)
}

// start starts a proxy program and waits until it serves. Both programs have
// the same flags and variables for this.
func (n *proxyNet) start(t *testing.T, b executable, o proxyOptions) *proxy {
	t.Helper()
	if o.listen == "" {
		o.listen = net.JoinHostPort(loopback, "0")
	}
	authKey := n.authKey(t)
	args := []string{"-control", n.controlURL, "-hostname", o.hostname, "-listen", o.listen, "-state", filepath.Join(t.TempDir(), "state")}
	env := []string{"MESHNET_AUTHKEY=" + authKey}
	secrets := []string{authKey}
	if o.password != "" {
		args = append(args, "-user", o.user)
		env = append(env, "MESHNET_PROXY_PASSWORD="+o.password)
		secrets = append(secrets, o.password)
	}
	process := startProcess(t, o.hostname, env, b.path, slices.Concat(b.args, args, o.args)...)
	return &proxy{
		name:     b.name,
		addr:     process.logged(t, `proxy on (\S+:\d+)`),
		user:     o.user,
		password: o.password,
		process:  process,
		secrets:  secrets,
	}
}

// startsCarefully checks what a program does that is not given what it needs,
// or something that it should not be given.
func (n *proxyNet) startsCarefully(t *testing.T, b executable) {
	t.Helper()
	const authKey, password = "a key to the mesh", "a password of the proxy"
	env := []string{"MESHNET_AUTHKEY=" + authKey, "MESHNET_PROXY_PASSWORD=" + password}
	p := &proxy{name: b.name}
	p.try(t, "-h", "shows no secrets", func(ctx context.Context) (string, error) {
		r, err := run(command(ctx, env, b.path, append(b.args, "-h")...))
		if text := r.stdout + r.stderr; err == nil && (strings.Contains(text, authKey) || strings.Contains(text, password)) {
			err = errors.New(text)
		}
		if err != nil {
			return "", err
		}
		return "", r.ends(r.exit, "-listen")
	})
	p.try(t, "-listen", "beyond loopback wants a password", func(ctx context.Context) (string, error) {
		r, err := run(command(ctx, []string{"MESHNET_AUTHKEY=" + n.authKey(t)}, b.path, slices.Concat(b.args,
			[]string{"-control", n.controlURL, "-listen", "0.0.0.0:0", "-state", t.TempDir()})...))
		if err != nil {
			return "", err
		}
		return "", r.ends(1, "password")
	})
}
