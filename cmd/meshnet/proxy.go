package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/httpproxy"
	"github.com/meshnet-go/meshnet/internal/serve"
	"github.com/meshnet-go/meshnet/socks5"
)

const proxyHelp = `meshnet proxy joins a mesh, and lets other programs on the machine reach it:
through a proxy, SOCKS5 and HTTP on one port, and through port forwards. It
runs until it is interrupted.

Usage:

  meshnet proxy -control URL [flags]

Examples:

  meshnet proxy -control https://mesh.example.com
      joins, asking a person to sign in, and serves a proxy on 127.0.0.1:1080:
      curl --proxy socks5h://127.0.0.1:1080 http://hello/
      and for browsers the address of a PAC file, http://127.0.0.1:1080/proxy.pac,
      with which they send to the proxy what is of the mesh, and nothing else
  meshnet proxy -control https://mesh.example.com -forward 5432=db:5432
      also brings port 5432 of the node db to 127.0.0.1:5432
  meshnet proxy -control https://mesh.example.com -listen "" -expose 80=127.0.0.1:8080
      no proxy: brings a web server of this machine to port 80 of the node

Flags:

FLAGS

Each flag may come from the environment instead: -control-key from
MESHNET_CONTROL_KEY, and so on. What stands on the command line wins. Flags
that may be repeated take several values with commas between them, too. Two
secrets come from there or from files, never from the command line, which other
users of the machine can read: the auth key in MESHNET_AUTHKEY, and the proxy's
password in MESHNET_PROXY_PASSWORD.

With a password, the PAC file asks for it too. A proxy that others than this
machine can reach needs one; forwards have none, and whoever reaches LOCAL uses
them. Who reaches what -expose brings to the mesh is the mesh's policy.

The first SIGINT or SIGTERM lets open connections end, the second does not.
`

// A proxyConfig is the flags of meshnet proxy.
type proxyConfig struct {
	node nodeConfig
	log  logConfig

	listen       list[string]
	user         string
	passwordFile string
	password     string // from one of two places
	forwards     list[forward]
	exposes      list[forward]
	grace        time.Duration
}

const defaultUser = "mesh"

func (c *proxyConfig) addFlags(fs *flag.FlagSet) {
	c.node.addFlags(fs)
	c.log.addFlags(fs)
	c.listen = list[string]{parse: parseLocal, values: []string{"127.0.0.1:1080"}}
	c.forwards.parse, c.exposes.parse = parseForward, parseExpose
	fs.Var(&c.listen, "listen", "`ADDRESS` of the proxy, HOST:PORT, or a port of 127.0.0.1; may be repeated;\n\"\" for no proxy")
	fs.StringVar(&c.user, "user", "", "`NAME` that clients of the proxy must give, if there is a password (default mesh)")
	fs.StringVar(&c.passwordFile, "password-file", "", "`FILE` with the password that clients of the proxy must give;\nMESHNET_PROXY_PASSWORD may have the password itself")
	fs.Var(&c.forwards, "forward", "`LOCAL=TARGET`: carry TCP connections from this machine to the mesh;\nmay be repeated. LOCAL is HOST:PORT, or a port of 127.0.0.1; TARGET is HOST:PORT,\nor the host if it is the same port")
	fs.Var(&c.exposes, "expose", "`MESHPORT=TARGET`: carry TCP connections from the mesh to this machine;\nmay be repeated. TARGET is HOST:PORT, or a port of 127.0.0.1")
	fs.DurationVar(&c.grace, "grace", 10*time.Second, "`TIME` for open connections to end after a signal")
}

// check checks all that can be checked without doing anything.
func (c *proxyConfig) check(w world) error {
	if err := c.readPassword(w); err != nil {
		return usageError{err}
	}
	ports := make(map[string]bool)
	for _, f := range c.exposes.values {
		if ports[f.listen] {
			return usagef("-expose has port %s twice", f.listen)
		}
		ports[f.listen] = true
	}
	return nil
}

// maxCredential is what fits the password message of SOCKS5, in bytes.
const maxCredential = 255

func (c *proxyConfig) readPassword(w world) (err error) {
	if c.password, err = secret(w, c.passwordFile, "password-file", "MESHNET_PROXY_PASSWORD"); err != nil {
		return err
	}
	switch {
	case c.user != "" && c.password == "":
		return errors.New("-user is of no use without a password: set -password-file or MESHNET_PROXY_PASSWORD")
	case len(c.user) > maxCredential || strings.Contains(c.user, ":"):
		return fmt.Errorf("-user can have %d bytes, and no colon", maxCredential)
	case len(c.password) > maxCredential:
		return fmt.Errorf("the password can have %d bytes", maxCredential)
	}
	c.user = cmp.Or(c.user, defaultUser)
	return nil
}

// auth returns the check of a client's password, nil if there is none.
func (c *proxyConfig) auth() func(user, password string) bool {
	if c.password == "" {
		return nil
	}
	return socks5.Credential(c.user, c.password)
}

func (c *proxyConfig) run(ctx context.Context, w world, _ []string) error {
	if err := c.check(w); err != nil {
		return err
	}
	if len(c.listen.values)+len(c.forwards.values)+len(c.exposes.values) == 0 {
		return usagef("-listen is empty, and there is no -forward and no -expose: nothing to do")
	}
	return c.serve(ctx, w, func(*meshnet.Server) {}, func(*meshnet.Status) {})
}

// serve is a node of the mesh, with its services, until ctx ends. The node is
// configured before it starts, and its status is told when it is up.
func (c *proxyConfig) serve(ctx context.Context, w world, configure func(*meshnet.Server), up func(*meshnet.Status)) error {
	log := c.log.logger(w.stderr)
	srv, err := c.node.server(w, log)
	if err != nil {
		return usageError{err}
	}
	configure(srv)
	defer srv.Close()
	services, err := c.open(srv, log)
	defer closeListeners(services)
	if err != nil {
		return err
	}
	stop, err := serveNode(c.node.state, srv)
	if err != nil {
		return err
	}
	defer stop()
	status, err := c.node.join(ctx, srv, log)
	switch {
	case err != nil && ctx.Err() == nil:
		return err
	case err != nil:
		log.Info("stopped before joining the mesh", "err", err)
		return nil
	}
	up(status)
	for _, s := range services {
		log.Info(s.name)
	}
	if err := serveAll(ctx, services, c.grace, log); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// open opens all listeners. What can go wrong on this machine goes wrong before
// the mesh hears of it. After an error the services are those that were opened.
func (c *proxyConfig) open(srv *meshnet.Server, log *slog.Logger) (services []service, err error) {
	if len(c.listen.values) > 0 {
		proxy, err := c.openProxy(srv)
		services = append(services, proxy)
		if err != nil {
			return services, fmt.Errorf("-listen: %w", err)
		}
	}
	for _, f := range c.forwards.values {
		s, err := openForward(srv, f, log)
		if err != nil {
			return services, fmt.Errorf("-forward %v: %w", f, err)
		}
		services = append(services, s)
	}
	if err := srv.Start(); err != nil {
		return services, err
	}
	for _, f := range c.exposes.values {
		s, err := openExpose(srv, f, log)
		if err != nil {
			return services, fmt.Errorf("-expose %v: %w", f, err)
		}
		services = append(services, s)
	}
	return services, nil
}

// openProxy listens for clients of the proxy.
func (c *proxyConfig) openProxy(srv *meshnet.Server) (service, error) {
	s := service{name: "SOCKS5 and HTTP proxy on ", server: newProxy(srv, c.auth())}
	for i, addr := range c.listen.values {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return s, err
		}
		s.listeners = append(s.listeners, ln)
		if c.password == "" && !serve.Local(ln.Addr()) {
			return s, fmt.Errorf("others than this machine can reach %s, and there is no password: "+
				"set one with -password-file or MESHNET_PROXY_PASSWORD, or listen on 127.0.0.1", addr)
		}
		if i > 0 {
			s.name += ", "
		}
		s.name += ln.Addr().String()
	}
	return s, nil
}

// newProxy returns a server of both protocols, and of the PAC file. Without auth
// it asks for no password.
func newProxy(srv *meshnet.Server, auth func(user, password string) bool) *httpproxy.Server {
	socks, proxy := srv.SOCKS5(), srv.HTTPProxy()
	socks.Auth, proxy.Auth = auth, auth
	proxy.SOCKS = socks.ServeConn
	proxy.Handler = pages{status: srv.Status, auth: auth}
	return proxy
}

// openForward listens for what goes from this machine to the mesh.
func openForward(srv *meshnet.Server, f forward, log *slog.Logger) (service, error) {
	ln, err := net.Listen("tcp", f.listen)
	if err != nil {
		return service{}, err
	}
	if !serve.Local(ln.Addr()) {
		log.Warn("others than this machine can use a forward", "address", f.listen, "target", f.target)
	}
	return service{
		name:      fmt.Sprintf("forward on %v to %s of the mesh", ln.Addr(), f.target),
		server:    newForwarder(f.target, srv.Dial, log),
		listeners: []net.Listener{ln},
	}, nil
}

// openExpose listens for what goes from the mesh to this machine.
func openExpose(srv *meshnet.Server, f forward, log *slog.Logger) (service, error) {
	ln, err := srv.Listen("tcp", ":"+f.listen)
	if err != nil {
		return service{}, err
	}
	return service{
		name:      fmt.Sprintf("forward on port %s of the mesh to %s", f.listen, f.target),
		server:    newForwarder(f.target, new(net.Dialer).DialContext, log),
		listeners: []net.Listener{ln},
	}, nil
}

func closeListeners(services []service) {
	for _, s := range services {
		for _, ln := range s.listeners {
			ln.Close()
		}
	}
}
