package httpproxy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
)

// A Request is what [Server.Allow] decides about.
type Request struct {
	Method string   // CONNECT for a tunnel, else the method to be forwarded
	User   string   // as Auth let them in; empty without Auth
	Client net.Addr // where the connection comes from
	Host   string   // an IP address in its usual spelling, without brackets, or a name as the client sent it
	Port   uint16
}

// address returns what Dial is given.
func (r *Request) address() string {
	return net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port)))
}

// target reads where a request wants to go. The error is a sentence for the
// client.
func target(r *http.Request) (host string, port uint16, err error) {
	if r.Method == http.MethodConnect {
		return tunnelTarget(r)
	}
	if r.URL.Scheme != "http" {
		return "", 0, fmt.Errorf("this proxy forwards http:// requests only, and tunnels anything else with CONNECT: %s:// is neither", r.URL.Scheme)
	}
	if r.URL.Hostname() == "" {
		return "", 0, errors.New("the URL names no host")
	}
	if r.URL.Port() == "" {
		return canonical(r.URL.Hostname()), 80, nil
	}
	port, err = parsePort(r.URL)
	return canonical(r.URL.Hostname()), port, err
}

// canonical writes an IP address in the usual way, so that rules hold however
// it was spelt. Names stay as they are.
func canonical(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return host
}

// tunnelTarget reads the host:port of a CONNECT. A body would leave it to
// interpretation where the tunnel begins.
func tunnelTarget(r *http.Request) (host string, port uint16, err error) {
	u := r.URL
	switch {
	case u.Hostname() == "", u.User != nil, u.Path != "", u.RawQuery != "", u.ForceQuery:
		return "", 0, errors.New("the target of CONNECT must be host:port")
	case r.ContentLength != 0:
		return "", 0, errors.New("CONNECT must have no body")
	}
	port, err = parsePort(u)
	return canonical(u.Hostname()), port, err
}

func parsePort(u *url.URL) (uint16, error) {
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return 0, errors.New("the port must be a number from 1 to 65535")
	}
	return uint16(port), nil
}
