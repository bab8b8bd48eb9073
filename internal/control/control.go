// Package control is the client of a coordinator: it registers a node and
// keeps the network map flowing.
//
// Everything goes through one connection, which is dialled when it is needed and
// again when it broke:
//
//	TCP, and TLS for an https:// URL
//	├ HTTP/1.1  GET /key   before the first time, if the key is not known
//	└ HTTP/1.1  POST /ts2021, Upgrade: tailscale-control-protocol
//	  └ Noise   proves our machine key and the coordinator's
//	    └ HTTP/2
//	      ├ POST /machine/register   once, and again when we are not known
//	      ├ POST /machine/map        stream: the network map and its changes
//	      └ POST /machine/map        short: what we report of ourselves
//
// A [Session] does all that for one node key. What to do after which answer is
// decided in decide.go, without I/O.
//
// In a browser there is a WebSocket in place of TCP and the upgrade, which has
// the Noise initiation in its query: GET /ts2021?X-Tailscale-Handshake=….
//
// The protocol is Tailscale's ts2021 with JSON bodies, as control/controlclient
// and control/controlhttp speak it.
package control

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/url"

	"github.com/meshnet-go/meshnet/key"
)

// Config says where the coordinator is and who we are to it.
type Config struct {
	// URL of the coordinator: https:// or http://, a host, and a port if it is
	// not the scheme's own.
	URL string
	// ServerKey is the coordinator's key; see [FetchServerKey].
	ServerKey key.MachinePublic
	// Machine is our key.
	Machine key.MachinePrivate
	// Dial connects to the coordinator. Nil means the host's network.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// RootCAs vouch for the coordinator's certificate when its key is asked
	// for. Nil means the host's.
	RootCAs *x509.CertPool
	// Spare is where the connection waits that the key came by; nil if it is of no
	// more use then.
	Spare *Spare
	// Logger may be nil.
	Logger *slog.Logger
}

func (c *Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// endpoint returns the coordinator's URL and where to dial it.
func (c *Config) endpoint() (u *url.URL, addr string, err error) {
	u, err = url.Parse(c.URL)
	if err != nil {
		return nil, "", fmt.Errorf("the coordinator's URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, "", fmt.Errorf("the coordinator's URL %q: want http:// or https:// and a host", u.Redacted())
	}
	if u.Path == "" {
		u.Path = "/" // else JoinPath makes a relative path
	}
	return u, net.JoinHostPort(u.Hostname(), portOf(u)), nil
}

func (c *Config) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if c.Dial == nil {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
	return c.Dial(ctx, network, addr)
}
