package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

const coordHelp = `meshnet coord serves a mesh of one's own: the coordinator that nodes join, a relay
for them, and STUN. Nodes are those of meshnet and Tailscale's clients. It prints
its URL as the first line, and runs until it is interrupted.

Usage:

  meshnet coord -dir DIR [-listen ADDRESS] [flags]

Examples:

  meshnet coord -dir mesh
      for a try on this machine, at http://127.0.0.1:8080
  meshnet coord -dir /var/lib/meshnet -acme mesh.example.com
      for everybody, on port 443, with a certificate that it gets by itself;
      UDP ports 3478 and 3479 must be open, too
  meshnet coord -dir /var/lib/meshnet -listen 10.0.0.1:8080 -http
      for a network where nobody listens in
  meshnet coord -dir /var/lib/meshnet -listen 8080 -url https://mesh.example.com
      behind a web server that has the certificate

Then, with the same -dir: meshnet authkey makes a key that admits nodes, meshnet
nodes, users, routes and policy administer the mesh. And on nodes:

  MESHNET_AUTHKEY=... meshnet up -control URL
  tailscale up --login-server URL --authkey ...

Flags:

FLAGS

Everything is kept in DIR, which is this coordinator's alone. At the first start
it prints a secret on standard error, with which an administrator signs in at
URL/admin/; meshnet coord secret makes another one.

The relay is served on the same port, always over TLS. Without a certificate it
has one of its own, which the nodes are told of.

Each flag may come from the environment instead: -listen from MESHNET_LISTEN,
and so on. What stands on the command line wins.
`

// A coordConfig is the flags of meshnet coord.
type coordConfig struct {
	web  webConfig
	log  logConfig
	stun stunConfig

	dir       string
	domain    string
	keyExpiry time.Duration
	noRelay   bool
	relays    list[string]
}

func (c *coordConfig) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.dir, "dir", "", "`DIR` for all that is kept, made when it is missing; required")
	c.web.addFlags(fs, ":443 with a\ncertificate, 127.0.0.1:8080 without")
	fs.BoolVar(&c.web.plain, "http", false, "serve others without a certificate: behind a proxy that has one, or\nwhere nobody listens in")
	c.stun.addFlags(fs)
	fs.StringVar(&c.domain, "domain", "mesh.internal", "`SUFFIX` of the names in the mesh")
	fs.Func("key-expiry", "`TIME` after which nodes must log in anew, such as 180d (default: never)", func(text string) (err error) {
		c.keyExpiry, err = parseTime(text)
		return err
	})
	fs.BoolVar(&c.noRelay, "no-relay", false, "serve no relay and no STUN: -relays names others")
	c.relays.parse = parseName
	fs.Var(&c.relays, "relays", "`FILES` with other relays: DERP maps, or what meshnet relay prints")
	c.log.addFlags(fs)
}

func (c *coordConfig) run(ctx context.Context, w world, _ []string) error {
	if c.dir == "" {
		return usagef("-dir is missing: the directory where the mesh is kept, such as -dir mesh")
	}
	if err := c.web.check(); err != nil {
		return err
	}
	if c.noRelay && len(c.relays.values) == 0 {
		return usagef("-no-relay needs -relays: nodes do not come up without a relay")
	}
	h := &hub{log: c.log.logger(w.stderr)}
	defer h.stop()
	if err := h.start(ctx, c); err != nil {
		return err
	}
	if err := h.tell(ctx, w); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		h.log.Info("stopping")
		return nil
	case err := <-h.failed:
		return err
	}
}

// A hub is a coordinator that runs, with its relay and STUN.
type hub struct {
	log    *slog.Logger
	url    *url.URL
	coord  *coord.Server
	relay  *derp.Server // nil: none
	failed chan error   // gets why one of the parts has ended by itself
	stops
}

// start opens what is needed, in an order in which what can go wrong goes wrong
// before anybody is served.
func (h *hub) start(ctx context.Context, c *coordConfig) error {
	h.failed = make(chan error, 8) // one for each that can end
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	store, err := openDatabase(ctx, c.dir)
	if err != nil {
		return err
	}
	h.onStop(func() { store.Close() })
	f, err := openFront(&c.web, c.dir, h.log)
	if err != nil {
		return err
	}
	h.onStop(f.close)
	h.url = f.url
	relays, err := c.derpMap(h, f)
	if err != nil {
		return err
	}
	if err := h.startCoord(ctx, c, store, relays); err != nil {
		return err
	}
	h.serve(f)
	return nil
}

func (h *hub) startCoord(ctx context.Context, c *coordConfig, store coord.Store, relays *derpmap.Map) error {
	var err error
	h.coord, err = coord.New(coord.Config{
		Domain:    c.domain,
		DERPMap:   relays,
		Store:     store,
		Logger:    h.log,
		KeyExpiry: c.keyExpiry,
		URL:       h.url.String(),
	})
	if err != nil {
		return err
	}
	h.onStop(func() { h.coord.Close() })
	if err := (kept{Domain: c.domain}).save(c.dir); err != nil {
		return err
	}
	stop, err := serveAdmin(c.dir, h.coord)
	if err != nil {
		return err
	}
	h.onStop(stop)
	return nil
}

// serve serves the coordinator and the relay.
func (h *hub) serve(f *front) {
	mux := http.NewServeMux()
	mux.Handle("/", h.coord)
	mux.HandleFunc("POST /verify", h.coord.ServeVerify) // for relays elsewhere
	if h.relay != nil {
		for _, path := range relayPaths {
			mux.Handle(path, h.relay)
		}
	}
	f.serve(mux, h.relay, h.failed)
}

// derpMap returns where the relays of the mesh are. It makes our own, if there
// is to be one, and begins to serve STUN.
func (c *coordConfig) derpMap(h *hub, f *front) (*derpmap.Map, error) {
	m, err := loadDERPMaps(c.relays.values)
	if err != nil {
		return nil, fmt.Errorf("-relays: %w", err)
	}
	if c.noRelay {
		return m, nil
	}
	// Behind a proxy that has the certificate, TLS ends there.
	h.relay = derp.NewServer(derp.ServerConfig{
		Admit:     func(ctx context.Context, k key.NodePublic, _ netip.AddrPort) error { return h.admit(ctx, k) },
		PlainHTTP: f.behindProxy,
		Logger:    h.log,
	})
	h.onStop(func() { shutDownRelay(h.relay) })
	ports, stop, err := c.stun.serve(f, h.log)
	if err != nil {
		return nil, err
	}
	h.onStop(stop)
	return m, addRegion(m, f.region(ownPlace(f), ports))
}

// ownPlace is where a coordinator's own relay is. The regions 900 to 999 are for
// relays of one's own.
func ownPlace(f *front) place {
	return place{id: 900, code: "own-900", name: f.url.Hostname(), node: "900a"}
}

// admit lets the nodes of the mesh use the relay, and nobody else.
func (h *hub) admit(ctx context.Context, k key.NodePublic) error {
	member, err := h.coord.Member(ctx, k)
	if err == nil && !member {
		err = errors.New("it is no node of this mesh")
	}
	return err
}

// tell tells people how to go on.
func (h *hub) tell(ctx context.Context, w world) error {
	secret, err := h.coord.AdminSecret(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(w.stdout, h.url)
	if secret != "" {
		fmt.Fprintf(w.stderr, "\nThe administrator's secret, which is shown this once, for %s/admin/\n\n\t%s\n\n", h.url, secret)
	}
	h.log.Info("serving the mesh", "url", h.url.String(), "nodes", h.coord.Status().Nodes, "policy", h.coord.Status().Policy)
	return nil
}
