package interop

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sshAndNetcat reaches an SSH server by way of netcat, which is what
// ProxyCommand is for, and an echo with netcat alone.
func (n *proxyNet) sshAndNetcat(t *testing.T, p *proxy) {
	t.Helper()
	s := n.serveSSH(t)
	for _, protocol := range []string{"5", "connect"} {
		p.try(t, "nc", "-X "+protocol+" closes one half", func(ctx context.Context) (string, error) {
			const text = "there and back again\n"
			cmd := command(ctx, nil, "nc", "-N", "-X", protocol, "-x", p.addr, "web", echoPort)
			cmd.Stdin = strings.NewReader(text)
			r, err := run(cmd)
			if err != nil {
				return "", err
			}
			return "", r.says(text)
		})
		p.try(t, "ssh", "ProxyCommand nc -X "+protocol+" runs a command", func(ctx context.Context) (string, error) {
			r, err := run(s.ssh(ctx, p, protocol, "echo from $((6*7)); exit 3"))
			if err != nil {
				return "", err
			}
			return "", r.ends(3, "from 42")
		})
		p.try(t, "ssh", "ProxyCommand nc -X "+protocol+" carries 8 MiB", func(ctx context.Context) (string, error) {
			const size = 8 << 20
			begin := time.Now()
			cmd := s.ssh(ctx, p, protocol, "cat")
			cmd.Stdin = content(size)
			r, err := run(cmd)
			if err == nil {
				err = r.ends(0, "")
			}
			if got, want := sum(strings.NewReader(r.stdout)), sum(content(size)); err == nil && got != want {
				err = fmt.Errorf("the checksum of %d bytes is %s, not %s", len(r.stdout), got, want)
			}
			return rate(size, begin), err
		})
	}
}

// sshServer is OpenSSH's server on the node web.
type sshServer struct {
	dir string // of its keys and configuration
}

const sshd = "/usr/sbin/sshd"

// serveSSH lets an sshd of its own serve every connection to web's SSH port,
// in the way in which inetd ran it. Nothing of it listens on the host.
func (n *proxyNet) serveSSH(t *testing.T) *sshServer {
	t.Helper()
	missing(t, sshd)
	s := &sshServer{dir: t.TempDir()}
	s.configure(t)
	separationDir(t)
	diagnostics := newLog(t, "sshd")
	n.web.serveTCP(t, sshPort, func(c stream) {
		cmd := command(t.Context(), nil, sshd, "-i", "-e", "-f", s.path("sshd_config"))
		cmd.Stderr = diagnostics
		serveProcess(cmd, c)
	})
	return s
}

// serveProcess runs a program whose input and output are a connection.
func serveProcess(cmd *exec.Cmd, c stream) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	go func() { // which Wait does not wait for
		io.Copy(stdin, c)
		stdin.Close()
	}()
	cmd.Stdout = c
	cmd.Run()
	c.CloseWrite()
}

func (s *sshServer) path(name string) string { return filepath.Join(s.dir, name) }

// configure makes keys for the server and its one user, which is who runs the
// test.
func (s *sshServer) configure(t *testing.T) {
	t.Helper()
	for _, name := range []string{"host", "user"} {
		keygen := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.path(name))
		check(t, "a key is made", keygen.Run())
	}
	s.write(t, "sshd_config", strings.Join([]string{
		"HostKey " + s.path("host"),
		"AuthorizedKeysFile " + s.path("user.pub"),
		"PidFile none",
		"UsePAM no",
		"StrictModes no", // temporary directories lie where everybody writes
		"PasswordAuthentication no",
		"PermitRootLogin prohibit-password",
	}, "\n"))
	hostKey, err := os.ReadFile(s.path("host.pub"))
	check(t, "the host key is read", err)
	s.write(t, "known_hosts", "web "+string(hostKey))
}

func (s *sshServer) write(t *testing.T, name, text string) {
	t.Helper()
	check(t, name+" is written", os.WriteFile(s.path(name), []byte(text+"\n"), 0o600))
}

// separationDir makes the empty directory in which sshd locks up its part that
// talks to strangers. Where sshd is a service, the start of the service makes
// it.
func separationDir(t *testing.T) {
	t.Helper()
	const dir = "/run/sshd"
	if os.Getuid() != 0 {
		return // sshd does without
	}
	if err := os.Mkdir(dir, 0o755); err == nil {
		t.Cleanup(func() { os.Remove(dir) })
	}
}

// ssh prepares a command on web, with netcat as the way there.
func (s *sshServer) ssh(ctx context.Context, p *proxy, protocol, script string) *exec.Cmd {
	login := "root"
	if u, err := user.Current(); err == nil {
		login = u.Username
	}
	return command(ctx, nil, "ssh", "-F", "none", "-T",
		"-o", "BatchMode=yes",
		"-o", "IdentitiesOnly=yes",
		"-o", "IdentityFile="+s.path("user"),
		"-o", "UserKnownHostsFile="+s.path("known_hosts"),
		"-o", "GlobalKnownHostsFile=none",
		"-o", "ProxyCommand=nc -X "+protocol+" -x "+p.addr+" %h %p",
		login+"@web", script)
}

// proxychains catches the system calls of a program that knows no proxies, and
// the names that it asks for.
func (n *proxyNet) proxychains(t *testing.T, open, closed *proxy) {
	t.Helper()
	for _, c := range []struct {
		p        *proxy
		protocol string
	}{{open, "socks5"}, {open, "http"}, {closed, "socks5"}, {closed, "http"}} {
		line := strings.Join([]string{c.protocol, loopback, c.p.port(), c.p.user, c.p.password}, " ")
		config := filepath.Join(t.TempDir(), "proxychains.conf")
		check(t, "the configuration is written", os.WriteFile(config, []byte("strict_chain\nproxy_dns\n[ProxyList]\n"+line+"\n"), 0o600))
		c.p.try(t, "proxychains4", c.protocol+" with curl", func(ctx context.Context) (string, error) {
			r, err := run(command(ctx, nil, "proxychains4", "-q", "-f", config, "curl", "-q", "-sS", "http://web/told"))
			if err != nil {
				return "", err
			}
			return "", r.says(told)
		})
	}
}
