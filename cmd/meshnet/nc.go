package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/derp/derpmap"
)

const ncHelp = `meshnet nc joins its standard input and output to a TCP connection of the mesh. It
ends when the other side has ended.

Usage:

  meshnet nc [flags] NODE PORT
  meshnet nc -accept [flags] PORT
  meshnet nc -relay FILE
  meshnet nc TOKEN

Examples:

  meshnet nc hello 80
      connects to port 80 of the node hello, through the node that runs here
  ssh -o ProxyCommand="meshnet nc %h %p" hello
  meshnet nc -accept 5000 > file
      waits for one connection from the mesh to port 5000 of the node that runs here
  meshnet nc -relay relay.json < file
      joins two machines without a mesh: prints a token, with which meshnet nc on
      the other one, and nobody else, gets the file. relay.json is what
      meshnet relay -print prints.

Flags:

FLAGS

The token is a secret. Other users of a machine can read its programs'
arguments: there, MESHNET_TOKEN has it instead.
`

// An ncConfig is the flags of meshnet nc.
type ncConfig struct {
	state  string
	accept bool
	relay  string
	log    logConfig
}

func (c *ncConfig) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.state, "state", "", "`DIR` of the node that runs here, as given to meshnet up")
	fs.BoolVar(&c.accept, "accept", false, "wait for a connection, instead of making one")
	fs.StringVar(&c.relay, "relay", "", "`FILE` with the description of a relay: join two machines without a mesh")
	c.log.addFlags(fs)
}

func (c *ncConfig) complete(ctx context.Context, argument string) []suggested {
	return (&askConfig{state: c.state}).complete(ctx, argument)
}

// tokenStart is how all tokens of pairs begin.
const tokenStart = "meshpair"

func (c *ncConfig) run(ctx context.Context, w world, args []string) error {
	token := w.env("MESHNET_TOKEN")
	if len(args) == 1 && strings.HasPrefix(args[0], tokenStart) {
		token, args = args[0], nil
	}
	switch {
	case c.relay != "" && len(args) == 0 && !c.accept:
		return c.host(ctx, w)
	case c.relay != "":
		return usagef("-relay is for two machines without a mesh: it wants no NODE, no PORT, and no -accept")
	case c.accept && len(args) == 1:
		return c.overNode(ctx, w, "accept", args[0])
	case c.accept:
		return usagef("-accept wants a PORT")
	case len(args) == 2:
		return c.overNode(ctx, w, "dial", net.JoinHostPort(args[0], args[1]))
	case len(args) == 0 && token != "":
		return c.guest(ctx, w, token)
	}
	return usagef("it wants NODE and PORT, a TOKEN, -accept with PORT, or -relay")
}

// overNode is nc by the node that runs here.
func (c *ncConfig) overNode(ctx context.Context, w world, what, target string) error {
	ask := askConfig{state: c.state}
	conn, err := ask.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	stream, err := openStream(conn, what, target)
	if err != nil {
		return ended(ctx, err)
	}
	return ended(ctx, carry(w, stream))
}

// pairPort is where the host of a pair waits for the guest.
const pairPort = "1"

// host makes a pair, and waits for the guest.
func (c *ncConfig) host(ctx context.Context, w world) error {
	relays, err := loadDERPMaps([]string{c.relay})
	if err != nil {
		return fmt.Errorf("-relay: %w", err)
	}
	pair, err := meshnet.NewPair(someRegion(relays))
	if err != nil {
		return err
	}
	srv := c.paired(w, pair)
	defer srv.Close()
	ln, err := srv.Listen("tcp", ":"+pairPort)
	if err != nil {
		return err
	}
	// The guest may come at once: it must not find nobody at the relay.
	if _, err := srv.Up(ctx); err != nil {
		return ended(ctx, err)
	}
	fmt.Fprintf(w.stderr, "On the other machine:\n\n  meshnet nc %s\n\n", pair.Token())
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	conn, err := ln.Accept()
	if err != nil {
		return ended(ctx, err)
	}
	defer conn.Close()
	return c.carryPaired(ctx, w, srv, conn)
}

// someRegion returns the first region of a map that has one.
func someRegion(m *derpmap.Map) *derpmap.Region {
	for _, id := range m.IDs() {
		return m.Regions[id]
	}
	return nil
}

// guest is nc to the host of a pair.
func (c *ncConfig) guest(ctx context.Context, w world, token string) error {
	pair, err := meshnet.ParsePair(token)
	if err != nil {
		return usageError{err}
	}
	srv := c.paired(w, pair)
	defer srv.Close()
	told := time.AfterFunc(instant, func() { fmt.Fprintln(w.stderr, "Waiting for the other machine.") })
	defer told.Stop()
	conn, err := srv.Dial(ctx, "tcp", "host:"+pairPort)
	if err != nil {
		return ended(ctx, err)
	}
	told.Stop()
	defer conn.Close()
	return c.carryPaired(ctx, w, srv, conn)
}

func (c *ncConfig) paired(w world, pair *meshnet.Pair) *meshnet.Server {
	srv := &meshnet.Server{Pair: pair}
	if c.log.verbose {
		srv.Logger = c.log.logger(w.stderr)
	} else {
		srv.Logger = slog.New(slog.DiscardHandler)
	}
	return srv
}

// lingerTime bounds how long the last bytes may take to the other machine.
const lingerTime = 10 * time.Second

// carryPaired carries until both sides have ended, and lets the last bytes reach
// the other machine before the node goes.
func (c *ncConfig) carryPaired(ctx context.Context, w world, srv *meshnet.Server, conn net.Conn) error {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := carry(w, conn); err != nil {
		return ended(ctx, err)
	}
	conn.Close()
	linger, cancel := context.WithTimeout(ctx, lingerTime)
	defer cancel()
	return srv.Shutdown(linger)
}

// ended is an error that is none when the user has ended the command.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// carry carries standard input to conn and conn to standard output, until both
// have ended. A person at a terminal does not have to end the input when conn has
// ended: nothing can stop that read, which goes on.
func carry(w world, conn net.Conn) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, w.stdin)
		if half, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
			err = half.CloseWrite()
		}
		sent <- err
	}()
	if _, err := io.Copy(w.stdout, conn); err != nil {
		return fmt.Errorf("the connection broke: %w", err)
	}
	if isTerminal(w.stdin) {
		return nil
	}
	if err := <-sent; err != nil {
		return fmt.Errorf("not all was sent: %w", err)
	}
	return nil
}

func isTerminal(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// dialMesh connects to a node of the mesh, given by what Dial takes.
func dialMesh(ctx context.Context, srv *meshnet.Server, target string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, forwardDialTimeout)
	defer cancel()
	return srv.Dial(ctx, "tcp", target)
}

// acceptOne waits for one connection from the mesh.
func acceptOne(ctx context.Context, srv *meshnet.Server, port string) (net.Conn, error) {
	if !isPort(port) {
		return nil, fmt.Errorf("%q is no port", port)
	}
	ln, err := srv.Listen("tcp", ":"+port)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	return ln.Accept()
}
