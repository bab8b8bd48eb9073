package interop

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// chromium shows a page of the mesh, whose script fetches another.
func (n *proxyNet) chromium(t *testing.T, p *proxy) {
	t.Helper()
	browser := findChromium(t)
	for _, c := range []struct{ what, flag, page string }{
		{"--proxy-server=socks5://", "--proxy-server=socks5://" + p.addr, "http://web/"},
		{"--proxy-server=socks5://, https", "--proxy-server=socks5://" + p.addr, "https://web/"},
		{"--proxy-server=http://", "--proxy-server=http://" + p.addr, "http://web/"},
		{"--proxy-server=http://, https", "--proxy-server=http://" + p.addr, "https://" + fullName(n.web, n.suffix) + "/"},
		{"--proxy-pac-url", "--proxy-pac-url=http://" + p.addr + "/proxy.pac", "http://web/"},
		{"--proxy-pac-url, full name", "--proxy-pac-url=http://" + p.addr + "/proxy.pac", "http://" + fullName(n.web, n.suffix) + "/"},
		{"--proxy-pac-url, IPv4", "--proxy-pac-url=http://" + p.addr + "/proxy.pac", "http://" + n.web.ip4.String() + "/"},
		{"--proxy-pac-url, IPv6", "--proxy-pac-url=http://" + p.addr + "/proxy.pac", "http://[" + n.web.ip6.String() + "]/"},
	} {
		p.try(t, "chromium", c.what, func(ctx context.Context) (string, error) {
			r, err := run(chromiumCommand(ctx, browser, t.TempDir(), c.flag, c.page))
			if err != nil {
				return "", err
			}
			for _, text := range []string{"<title>" + pageTitle + "</title>", ">" + told + "<"} {
				if !strings.Contains(r.stdout, text) {
					return "", fmt.Errorf("the page has no %q: %s", text, shorten(r.stdout))
				}
			}
			return "", nil
		})
	}
}

// findChromium returns the path of the browser, which has many names.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no chromium: make deps installs it")
	return ""
}

// chromiumCommand prepares the browser to print a page as it is after its
// scripts. It has no network but the proxy: what it resolves itself, it does
// not find.
func chromiumCommand(ctx context.Context, browser, dir, proxy, page string) *exec.Cmd {
	return command(ctx, []string{"HOME=" + dir}, browser,
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+dir,
		"--no-first-run", "--no-default-browser-check",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-extensions", "--disable-breakpad", "--disable-quic",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE "+loopback,
		"--ignore-certificate-errors",
		"--virtual-time-budget=10000", // the clock stands still while a request is on its way
		proxy, "--dump-dom", page)
}
