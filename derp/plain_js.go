package derp

import (
	"net/netip"
	"strings"
	"syscall/js"
)

// plain reports whether to do without TLS: for a relay on this machine, from a
// page that this machine serves without TLS as well. A browser trusts no
// certificate of such a relay, and nobody else is on the way to it.
func (a *attempt) plain() bool {
	page := js.Global().Get("location")
	return page.Truthy() && page.Get("protocol").String() == "http:" &&
		isLoopback(page.Get("hostname").String()) && isLoopback(a.node.HostName)
}

func isLoopback(host string) bool {
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
