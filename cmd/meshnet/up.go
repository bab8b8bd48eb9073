package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/meshnet-go/meshnet"
)

const upHelp = `meshnet up joins a mesh and stays in it until it is interrupted. While it runs,
meshnet status, ping, netcheck, whois and nc ask it. The system's own network is
left alone: programs reach the mesh through meshnet nc, -forward and -listen,
and the mesh reaches them through -expose.

Usage:

  meshnet up -control URL [flags]

Examples:

  meshnet up -control https://mesh.example.com
      joins, asking a person to sign in, and says by which name and addresses
  meshnet up -control https://mesh.example.com -authkey-file key -expose 22
      joins by an auth key, and lets the mesh reach this machine's port 22
  meshnet nc hello 22
      on the same machine: what ssh's ProxyCommand wants

Flags:

FLAGS

Each flag may come from the environment instead: -control-key from
MESHNET_CONTROL_KEY, and so on. What stands on the command line wins. The auth
key comes from MESHNET_AUTHKEY or a file, never from the command line, which
other users of the machine can read.

The first SIGINT or SIGTERM lets open connections end, the second does not.
`

// An upConfig is the flags of meshnet up. It can do all that the proxy can.
type upConfig struct {
	proxyConfig
	json bool
}

func (c *upConfig) addFlags(fs *flag.FlagSet) {
	c.proxyConfig.addFlags(fs)
	c.listen.values = nil
	listen := fs.Lookup("listen")
	listen.DefValue = ""
	listen.Usage = "`ADDRESS` of a SOCKS5 and HTTP proxy, HOST:PORT, or a port of 127.0.0.1; may be repeated"
	fs.BoolVar(&c.json, "json", false, "print JSON: an object with the page to sign in at, if there is one,\nand the node's status when it is up")
}

func (c *upConfig) run(ctx context.Context, w world, _ []string) error {
	if err := c.check(w); err != nil {
		return err
	}
	return c.serve(ctx, w, func(srv *meshnet.Server) {
		if c.json {
			srv.OnAuthURL = func(page string) { printJSON(w.stdout, map[string]string{"AuthURL": page}) }
		}
	}, func(status *meshnet.Status) {
		if c.json {
			printJSON(w.stdout, newNodeStatus(status))
			return
		}
		fmt.Fprintf(w.stdout, "%s is up: %s\n", plain(status.Self.Name), strings.Join(texts(status.Self.Addresses), ", "))
	})
}

// texts are values as they are printed.
func texts[T fmt.Stringer](values []T) (list []string) {
	for _, v := range values {
		list = append(list, v.String())
	}
	return list
}
