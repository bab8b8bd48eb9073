package interop

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

const direct = "--noproxy" // no proxy at all

// curl runs curl with a proxy, of which it says how to use it, such as
// "--socks5-hostname".
func (p *proxy) curl(ctx context.Context, how string, args ...string) (result, error) {
	return run(command(ctx, nil, "curl", p.curlArgs(how, args...)...))
}

func (p *proxy) curlArgs(how string, args ...string) []string {
	value := p.addr
	switch how {
	case "--proxy":
		value = "http://" + p.addr
	case direct:
		value = "*"
	}
	all := []string{"-q", "-sS", "-k", "--max-time", "25", how, value}
	if p.password != "" {
		all = append(all, "--proxy-user", p.user+":"+p.password)
	}
	return append(all, args...)
}

// curlSays runs one cell: curl prints a text.
func (p *proxy) curlSays(t *testing.T, what, text, how string, args ...string) {
	t.Helper()
	p.curlEnds(t, what, 0, text, how, args...)
}

// curlEnds runs one cell: curl ends with a code, and prints a text.
func (p *proxy) curlEnds(t *testing.T, what string, exit int, text, how string, args ...string) {
	t.Helper()
	p.try(t, "curl", how+" "+what, func(ctx context.Context) (string, error) {
		r, err := p.curl(ctx, how, args...)
		if err != nil {
			return "", err
		}
		return "", r.ends(exit, text)
	})
}

func (n *proxyNet) curlReachesTheMesh(t *testing.T, p *proxy) {
	t.Helper()
	hosts := []struct{ what, host string }{
		{"by short name", n.web.host()},
		{"by full name", fullName(n.web, n.suffix)},
		{"by full name with a dot", fullName(n.web, n.suffix) + "."},
		{"by IPv4", n.web.ip4.String()},
		{"by IPv6", "[" + n.web.ip6.String() + "]"},
	}
	for _, h := range hosts {
		for _, how := range []string{"--socks5-hostname", "--proxy"} {
			p.curlSays(t, h.what, told, how, "http://"+h.host+"/told")
			p.curlSays(t, h.what+", https", told, how, "https://"+h.host+"/told")
		}
		p.curlSays(t, h.what+", tunnel", told, "--proxy", "--proxytunnel", "http://"+h.host+"/told")
		if strings.Contains(h.what, "IP") { // curl asks the host for names
			p.curlSays(t, h.what, told, "--socks5", "http://"+h.host+"/told")
		}
	}
	url := "http://web/told"
	p.curlSays(t, "with HTTP/1.0", told, "--proxy", "--http1.0", url)
	p.curlSays(t, "HEAD", "Content-Length: 16", "--proxy", "--head", url)
	p.curlSays(t, "keeps its connection", "10", "--proxy", "--write-out", "%{num_connects}", "-o", "/dev/null", "-o", "/dev/null", url, url)
}

func (n *proxyNet) curlGivesThePassword(t *testing.T, proxies ...*proxy) {
	t.Helper()
	for _, p := range proxies {
		p.curlSays(t, "with password", told, "--socks5-hostname", "http://web/told")
		p.curlSays(t, "with password", told, "--proxy", "http://web/told")
		p.curlSays(t, "with password, https", told, "--proxy", "https://web/told")
		p.try(t, "curl", "--proxy keeps the password to itself", func(ctx context.Context) (string, error) {
			r, err := p.curl(ctx, "--proxy", "http://web/headers")
			if err == nil && strings.Contains(r.stdout, "Proxy-") {
				err = fmt.Errorf("the web server gets %q", r.stdout)
			}
			return "", err
		})
		for _, c := range []struct{ what, password string }{
			{"with wrong password", "wrong"},
			{"with a long password", strings.Repeat("x", 255)},
			{"with an empty password", ""},
		} {
			what, wrong := c.what, []string{"--proxy-user", p.user + ":" + c.password} // the last one counts
			p.curlEnds(t, what, 97, "rejected by the SOCKS5 server", "--socks5-hostname", append(wrong, "http://web/told")...)
			p.curlEnds(t, what, 0, "407", "--proxy", append(wrong, "http://web/told", "--write-out", "%{http_code}")...)
			p.curlEnds(t, what+", https", 56, "407", "--proxy", append(wrong, "https://web/told")...)
		}
		nobody := *p
		nobody.password = ""
		nobody.curlEnds(t, "without password", 97, "No authentication method was acceptable", "--socks5-hostname", "http://web/told")
		nobody.curlEnds(t, "without password", 0, "407", "--proxy", "http://web/told", "--write-out", "%{http_code}")
		nobody.curlEnds(t, "without password, https", 56, "407", "--proxy", "https://web/told")
	}
}

// curlCarriesBulk sends and receives enough for every buffer to fill.
func (n *proxyNet) curlCarriesBulk(t *testing.T, p *proxy) {
	t.Helper()
	const size = 64 << 20
	want := sum(content(size))
	for _, c := range []struct{ how, scheme string }{
		{"--socks5-hostname", "http"},
		{"--proxy", "http"},
		{"--proxy", "https"},
	} {
		p.try(t, "curl", c.how+" downloads 64 MiB, "+c.scheme, func(ctx context.Context) (string, error) {
			begin, h := time.Now(), sha256.New()
			cmd := command(ctx, nil, "curl", p.curlArgs(c.how, fmt.Sprintf("%s://web/bytes/%d", c.scheme, size))...)
			cmd.Stdout = h
			r, err := run(cmd)
			if err == nil {
				err = r.ends(0, "")
			}
			if got := fmt.Sprintf("%x", h.Sum(nil)); err == nil && got != want {
				err = fmt.Errorf("the checksum is %s, not %s", got, want)
			}
			return rate(size, begin), err
		})
		p.try(t, "curl", c.how+" uploads 64 MiB, "+c.scheme, func(ctx context.Context) (string, error) {
			begin := time.Now()
			cmd := command(ctx, nil, "curl", p.curlArgs(c.how, "--upload-file", "-", c.scheme+"://web/sum")...)
			cmd.Stdin = content(size)
			r, err := run(cmd)
			if err == nil {
				err = r.says(want)
			}
			return rate(size, begin), err
		})
	}
}

func rate(size int, begin time.Time) string {
	return fmt.Sprintf("%.0f MiB/s", float64(size)/(1<<20)/time.Since(begin).Seconds())
}

// curlIsToldWhatFailed checks that errors of the mesh come as what the
// protocols have for them: curl prints the reply code of SOCKS in parentheses.
func (n *proxyNet) curlIsToldWhatFailed(t *testing.T, p *proxy) {
	t.Helper()
	refused := net.JoinHostPort(n.web.host(), closedPort)
	const (
		networkUnreachable = "(3)"
		hostUnreachable    = "(4)"
		connectionRefused  = "(5)"
	)
	p.curlEnds(t, "refused port", 97, connectionRefused, "--socks5-hostname", "http://"+refused)
	p.curlEnds(t, "refused port", 0, "502", "--proxy", "http://"+refused, "--write-out", "%{http_code}")
	p.curlEnds(t, "refused port, https", 56, "502", "--proxy", "https://"+refused)
	for _, c := range []struct{ what, host, reply string }{
		{"unknown name", "nobody", hostUnreachable},
		{"unknown address", "100.127.255.254", networkUnreachable},
		{"address outside", "192.0.2.1", networkUnreachable},
		{"loopback", loopback, networkUnreachable}, // not the machine's own services
	} {
		p.curlEnds(t, c.what, 97, c.reply, "--socks5-hostname", "http://"+c.host)
		p.curlEnds(t, c.what, 0, "502", "--proxy", "http://"+c.host, "--write-out", "%{http_code}")
		p.curlEnds(t, c.what+", https", 56, "502", "--proxy", "https://"+c.host)
	}
	p.curlEnds(t, "is refused", 97, "", "--socks4a", "http://web/told")
	p.curlSays(t, "to the proxy itself", "This is a proxy", direct, "http://"+p.addr+"/")
}

// forwards checks the port forwards, which need no proxy protocol: -forward
// leads from the host to the mesh, and -expose from the mesh to the host. The
// other end of the second is reached through another proxy.
func (n *proxyNet) forwards(t *testing.T, other *proxy) {
	t.Helper()
	const greeting = "told by the host"
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, greeting) }))
	t.Cleanup(local.Close)
	refused := net.JoinHostPort(n.web.ip6.String(), closedPort)
	anyPort := net.JoinHostPort(loopback, "0")
	p := n.startMeshnetProxy(t, proxyOptions{hostname: "forwarder", args: []string{
		"-forward", anyPort + "=web:80",
		"-forward", anyPort + "=" + refused,
		"-expose", "80=" + local.Listener.Addr().String(),
		"-expose", closedPort + "=" + unusedAddress(t),
	}})
	forwarded := func(target string) string {
		return p.process.logged(t, `forward on (\S+:\d+) to `+regexp.QuoteMeta(target)+" of the mesh")
	}
	pages, nothing := forwarded("web:80"), forwarded(refused)
	eventually(t, "the other proxy knows the forwarder", func(ctx context.Context) error {
		r, err := other.curl(ctx, "--socks5-hostname", "http://forwarder/")
		if err != nil {
			return err
		}
		return r.says(greeting)
	})

	p.curlSays(t, "-forward", told, direct, "http://"+pages+"/told")
	p.curlSays(t, "-forward uploads 8 MiB", sum(content(8<<20)), direct, "http://"+pages+"/sum", "--upload-file", tempFile(t, content(8<<20)))
	p.curlBreaks(t, "-forward to a refused port", p, direct, "http://"+nothing)
	p.curlBreaks(t, "-expose of a refused port", other, "--socks5-hostname", "http://forwarder:"+closedPort)
	other.curlSays(t, "to -expose", greeting, "--socks5-hostname", "http://forwarder/")
	other.curlSays(t, "to -expose", greeting, "--proxy", "http://forwarder/")
	n.stopsGracefully(t, p)
}

// curlBreaks runs one cell: the connection that curl gets through another proxy,
// or directly, is broken off.
func (p *proxy) curlBreaks(t *testing.T, what string, through *proxy, how string, args ...string) {
	t.Helper()
	p.try(t, "curl", what, func(ctx context.Context) (string, error) {
		r, err := through.curl(ctx, how, args...)
		const cannotConnect, emptyReply, reset = 7, 52, 56 // it depends on when
		if err == nil && r.exit != cannotConnect && r.exit != emptyReply && r.exit != reset {
			err = r.ends(reset, "")
		}
		return "", err
	})
}

// tempFile writes a file and returns its path.
func tempFile(t *testing.T, body io.Reader) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	check(t, "there is a temporary file", err)
	_, err = io.Copy(f, body)
	check(t, "the file is written", errors.Join(err, f.Close()))
	return f.Name()
}
