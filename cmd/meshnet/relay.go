package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
)

const relayHelp = `meshnet relay serves a relay by itself, with STUN beside it: near nodes that are
far from their coordinator, or as a second one. It prints its entry for the DERP
map as the first line, and runs until it is interrupted; its clients then know
that it comes back.

Usage:

  meshnet relay -dir DIR [-listen ADDRESS] [flags]

Examples:

  meshnet relay -dir relay -acme relay.example.com -verify https://mesh.example.com
      for the nodes of one mesh, with a certificate that it gets by itself
  meshnet relay -dir relay -url https://198.51.100.7 -verify https://mesh.example.com
      with a certificate of its own, which the entry pins
  meshnet relay -dir relay ... -print > relay.json
  meshnet coord -dir mesh ... -relays relay.json
      tells the nodes of the relay

Flags:

FLAGS

DIR has the relay's key and certificate, and is this relay's alone.

Two relays of one region forward to each other when both have the same mesh key,
which meshnet relay mesh-key makes, and know each other's entries (-mesh).

Each flag may come from the environment instead: -listen from MESHNET_LISTEN,
and so on. What stands on the command line wins.
`

const (
	relaySocket  = "relay.sock"
	relayKeyFile = "relay.json"
)

func relayCommands() []command {
	return []command{
		{name: "status", summary: "tell what a relay on this machine does, and for whom", make: newAction[relayStatusConfig]},
		{name: "mesh-key", summary: "make and print a key for relays of one region", make: newAction[meshKeyConfig]},
	}
}

// A relayConfig is the flags of meshnet relay.
type relayConfig struct {
	web  webConfig
	stun stunConfig
	log  logConfig

	dir   string
	print bool
	place place

	verify      string
	failOpen    bool
	limit       derp.Limit
	connections int

	meshKeyFile string
	mesh        list[string]
}

func (c *relayConfig) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.dir, "dir", "", "`DIR` for the relay's key and certificate, made when it is missing; required")
	c.web.addFlags(fs, ":443; 127.0.0.1:8080\nwith -http")
	fs.BoolVar(&c.web.plain, "http", false, "serve without TLS: behind a proxy that has the certificate, and which -url\nnames")
	c.stun.addFlags(fs)
	fs.BoolVar(&c.print, "print", false, "print the entry for the DERP map, and serve nothing")
	c.addPlaceFlags(fs)
	fs.Func("verify", "`URL` of who knows which nodes may use the relay: a coordinator's, or all of\nthe URL of its answer (default: everybody may)", func(text string) (err error) {
		c.verify, err = parseVerify(text)
		return err
	})
	fs.BoolVar(&c.failOpen, "verify-fail-open", false, "let everybody use the relay while the one of -verify does not answer")
	fs.Func("limit", "`BYTES` a second that each client may send, such as 500k, 10M or 1G (default:\nno limit)", func(text string) (err error) {
		c.limit.BytesPerSecond, err = parseSize(text)
		return err
	})
	fs.Func("burst", "`BYTES` that a client may send at once in spite of -limit (default 64k)", func(text string) (err error) {
		c.limit.Burst, err = parseSize(text)
		return err
	})
	fs.Func("max-connections", "`NUMBER` of clients at a time (default 16384)", func(text string) (err error) {
		c.connections, err = strconv.Atoi(text)
		if err != nil || c.connections < 1 {
			return errors.New("want a number")
		}
		return nil
	})
	fs.StringVar(&c.meshKeyFile, "mesh-key-file", "", "`FILE` with the key of the region's relays; MESHNET_MESH_KEY may have the\nkey itself")
	c.mesh.parse = parseName
	fs.Var(&c.mesh, "mesh", "`FILES` with the entries of the region's relays, this one perhaps among them")
	c.log.addFlags(fs)
}

func (c *relayConfig) addPlaceFlags(fs *flag.FlagSet) {
	c.place.id = 901
	fs.Func("region", "`NUMBER` of the region, from 1 to 65535; 900 is a coordinator's own (default 901)", func(text string) error {
		if !isPort(text) {
			return errors.New("want a number from 1 to 65535")
		}
		c.place.id, _ = strconv.Atoi(text)
		return nil
	})
	fs.StringVar(&c.place.code, "region-code", "", "`CODE` of the region, such as fra (default own-901)")
	fs.StringVar(&c.place.name, "region-name", "", "`NAME` of the region, such as Frankfurt (default: the host's)")
	fs.StringVar(&c.place.node, "name", "", "`NAME` of the relay in the DERP map (default: region and host)")
}

// parseName reads the name of a file.
func parseName(text string) (string, error) { return text, nil }

// parseVerify reads the URL of who knows the nodes. That of a coordinator gets
// the path where it answers.
func parseVerify(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errors.New("want a URL such as https://mesh.example.com")
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/verify"
	}
	return u.String(), nil
}

// parseSize reads a number of bytes.
func parseSize(text string) (int, error) {
	units := map[string]int{"k": 1e3, "M": 1e6, "G": 1e9}
	factor := 1
	if n := len(text); n > 0 && units[text[n-1:]] > 0 {
		text, factor = text[:n-1], units[text[n-1:]]
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 || n > (1<<31-1)/uint64(factor) {
		return 0, errors.New("want a number of bytes such as 500k, 10M or 1G")
	}
	return int(n) * factor, nil
}

func (c *relayConfig) check() error {
	c.web.relayOnly = true
	if err := c.web.check(); err != nil {
		return err
	}
	switch {
	case c.dir == "":
		return usagef("-dir is missing: the directory for the relay's key, such as -dir relay")
	case c.web.plain && c.web.url == "":
		return usagef("-http needs -url: the proxy with the certificate, by which clients come")
	case strings.HasPrefix(c.web.url, "http:"):
		return usagef("-url: clients of a relay come by https alone")
	case c.failOpen && c.verify == "":
		return usagef("-verify-fail-open is of no use without -verify")
	}
	return nil
}

func (c *relayConfig) run(ctx context.Context, w world, _ []string) error {
	if err := c.check(); err != nil {
		return err
	}
	meshKey, err := c.meshKey(w)
	if err != nil {
		return err
	}
	r := &relayRun{config: c, log: c.log.logger(w.stderr), failed: make(chan error, 2)}
	defer r.stop()
	if err := r.open(); err != nil {
		return err
	}
	entry, err := json.Marshal(r.region)
	if err != nil {
		return err
	}
	if c.print {
		if !c.stun.off && c.stun.portFor(r.front) == 0 {
			r.log.Warn("STUN will be on other ports when the relay serves; -stun chooses them for good")
		}
		fmt.Fprintf(w.stdout, "%s\n", entry)
		return nil
	}
	if err := r.serve(meshKey); err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%s\n", entry)
	if c.verify == "" {
		r.log.Warn("anybody may use this relay; -verify names who knows the nodes of a mesh")
	}
	r.log.Info("serving the relay", "url", r.front.url.String(), "key", r.relay.PublicKey())
	select {
	case <-ctx.Done():
		r.log.Info("stopping")
		return nil
	case err := <-r.failed:
		return err
	}
}

// meshKey returns the key of the region's relays, which is zero without one.
func (c *relayConfig) meshKey(w world) (k derp.MeshKey, err error) {
	text, err := secret(w, c.meshKeyFile, "mesh-key-file", "MESHNET_MESH_KEY")
	if err != nil {
		return k, err
	}
	if text == "" {
		if len(c.mesh.values) > 0 {
			return k, usagef("-mesh needs the key of the region's relays: give -mesh-key-file; meshnet relay mesh-key makes one")
		}
		return k, nil
	}
	if k, err = derp.ParseMeshKey(text); err != nil {
		return k, fmt.Errorf("the mesh key: %w", err)
	}
	return k, nil
}

// A relayRun is a relay that runs.
type relayRun struct {
	config *relayConfig
	log    *slog.Logger
	front  *front
	region *derpmap.Region // our entry alone
	relay  *derp.Server
	failed chan error // gets why one of the parts has ended by itself
	stops
}

// open listens, and finds out how the relay is reached.
func (r *relayRun) open() error {
	c := r.config
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	var err error
	if r.front, err = openFront(&c.web, c.dir, r.log); err != nil {
		return err
	}
	r.onStop(r.front.close)
	ports, stop, err := c.stun.serve(r.front, r.log)
	if err != nil {
		return err
	}
	r.onStop(stop)
	p := c.place
	host := r.front.url.Hostname()
	if port := portOf(r.front.url); port != 443 {
		p.node = cmp.Or(p.node, fmt.Sprintf("%d-%s", p.id, net.JoinHostPort(host, strconv.Itoa(port))))
	}
	p.node = cmp.Or(p.node, fmt.Sprintf("%d-%s", p.id, host))
	p.code = cmp.Or(p.code, fmt.Sprintf("own-%d", p.id))
	p.name = cmp.Or(p.name, host)
	r.region = r.front.region(p, ports)
	return nil
}

// serve begins to serve clients, and connects to the other relays of the region.
func (r *relayRun) serve(meshKey derp.MeshKey) error {
	c := r.config
	others, err := loadDERPMaps(c.mesh.values)
	if err != nil {
		return fmt.Errorf("-mesh: %w", err)
	}
	own, err := derp.KeyFile(filepath.Join(c.dir, relayKeyFile))
	if err != nil {
		return err
	}
	cfg := derp.ServerConfig{
		Key: own, MeshKey: meshKey, Limit: c.limit, MaxConns: c.connections,
		PlainHTTP: r.front.behindProxy, Logger: r.log,
	}
	if c.verify != "" {
		web := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
		r.onStop(web.CloseIdleConnections)
		cfg.Admit = derp.AdmitURL{URL: c.verify, FailOpen: c.failOpen, Client: web}.Admit
	}
	r.relay = derp.NewServer(cfg)
	r.onStop(func() { shutDownRelay(r.relay) })
	stop, err := serveRelayStatus(c.dir, r)
	if err != nil {
		return err
	}
	r.onStop(stop)
	r.onStop(meshWith(r.relay, r.region, others.Regions[c.place.id], r.log))
	r.front.serve(r.relay, r.relay, r.failed)
	return nil
}
