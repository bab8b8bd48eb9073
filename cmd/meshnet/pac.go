package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshnet-go/meshnet"
)

// pages is what the proxy itself answers to browsers: the PAC file, with which
// they send to the proxy what is of the mesh, and nothing else.
//
// Web pages from anywhere can have a browser make such requests, and must not
// learn from the answers who is in the mesh. A page whose own name leads here
// (DNS rebinding) is recognised by the Host header; one that names the file as
// a script is stopped by the browser, because of the answer's headers.
type pages struct {
	status func() *meshnet.Status
	auth   func(user, password string) bool // nil without a password
}

func (p pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	at, ok := numericHost(r.Host)
	switch {
	case !ok:
		http.Error(w, "This proxy is asked for under a name; use its IP address, or localhost.", http.StatusForbidden)
	case !p.authorised(r):
		h.Set("WWW-Authenticate", `Basic realm="proxy", charset="UTF-8"`)
		http.Error(w, "The user name and the password of the proxy are needed.", http.StatusUnauthorized)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "There are only files to be read here.", http.StatusMethodNotAllowed)
	case r.URL.Path == "/proxy.pac":
		h.Set("Content-Type", "application/x-ns-proxy-autoconfig")
		fmt.Fprint(w, pacFile(p.status(), p.proxies(at)))
	case r.URL.Path == "/":
		h.Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "This is a proxy into a mesh, for SOCKS5 and HTTP.\nBrowsers that are configured with http://%s/proxy.pac use it for the mesh alone.\n", at)
	default:
		http.NotFound(w, r)
	}
}

func (p pages) authorised(r *http.Request) bool {
	if p.auth == nil {
		return true
	}
	user, password, ok := r.BasicAuth()
	return ok && p.auth(user, password)
}

// proxies says what a browser shall use. Browsers have no passwords for SOCKS.
func (p pages) proxies(at string) string {
	if p.auth != nil {
		return "PROXY " + at
	}
	return "SOCKS5 " + at + "; PROXY " + at
}

// numericHost returns host and port of a Host header whose host is an IP address
// or localhost, which nobody can make lead elsewhere.
func numericHost(header string) (string, bool) {
	host, port, err := net.SplitHostPort(header)
	if err != nil {
		host, port = strings.Trim(header, "[]"), "80"
	}
	if host = strings.ToLower(host); host != "localhost" {
		ip, err := netip.ParseAddr(host)
		if err != nil || ip.Zone() != "" {
			return "", false
		}
		host = ip.String()
	}
	return net.JoinHostPort(host, port), isPort(port)
}

// pacFile returns the script. Its lists are JSON, and so JavaScript as well:
// encoding/json escapes what scripts would see otherwise.
func pacFile(status *meshnet.Status, proxies string) string {
	suffix := ""
	if status.Domain != "" {
		suffix = "." + strings.ToLower(status.Domain)
	}
	hosts, _ := json.Marshal(pacHosts(status, suffix))
	return fmt.Sprintf(pacScript, script(proxies), hosts, script(suffix))
}

func script(text string) []byte {
	literal, _ := json.Marshal(text)
	return literal
}

// pacScript keeps to what JavaScript had in 1999, because there are systems
// that read PAC files with an engine of that age, and to comparing text:
// functions such as isInNet resolve names.
const pacScript = `function FindProxyForURL(url, host) {
  var mesh = %s;
  var hosts = %s;
  var suffix = %s;
  host = host.toLowerCase().replace(/^\[|\]$|\.$/g, "");
  if (hosts[host] === 1) return mesh;
  if (suffix && host.slice(-suffix.length) === suffix) return mesh;
  if (/^100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+$/.test(host)) return mesh;
  if (/^fd7a:115c:a1e0:/.test(host)) return mesh;
  return "DIRECT";
}
`

// The addresses of the mesh's nodes, as the protocol has it.
var meshRanges = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("fd7a:115c:a1e0::/48"),
}

// pacHosts returns what of the mesh is to be named one by one: short names,
// full names of another suffix, and addresses outside of the mesh's ranges.
func pacHosts(status *meshnet.Status, suffix string) map[string]int {
	hosts := make(map[string]int)
	for _, peer := range status.Peers {
		name := strings.ToLower(peer.Name)
		if short, ok := strings.CutSuffix(name, suffix); suffix != "" && ok {
			name = short
		}
		if name != "" {
			hosts[name] = 1
		}
		for _, a := range peer.Addresses {
			if !slices.ContainsFunc(meshRanges, func(r netip.Prefix) bool { return r.Contains(a) }) {
				hosts[a.String()] = 1
			}
		}
	}
	return hosts
}
