package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/meshnet-go/meshnet"
)

// nodeSocket is where a node that runs answers commands, in its state directory.
const nodeSocket = "node.sock"

// serveNode answers on the socket of a node until the returned function is
// called. A node without a directory has none.
func serveNode(dir string, srv *meshnet.Server) (stop func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	path := filepath.Join(dir, nodeSocket)
	if other, err := dialLocal(context.Background(), path); err == nil {
		other.Close()
		return nil, fmt.Errorf("another node runs with the directory %s: each needs one of its own, see -state", dir)
	}
	ln, err := listenLocal(path)
	if err != nil {
		return nil, err
	}
	return serveLocal(ln, nodeHandler(srv)), nil
}

// nodeHandler answers questions about a node, and carries connections to and
// from the mesh.
func nodeHandler(srv *meshnet.Server) http.Handler {
	mux := http.NewServeMux()
	handleJSON(mux, "status", func(context.Context, none) (nodeStatus, error) { return newNodeStatus(srv.Status()), nil })
	handleJSON(mux, "ping", func(ctx context.Context, p pingParams) (shownPong, error) { return p.do(ctx, srv) })
	handleJSON(mux, "netcheck", func(ctx context.Context, _ none) (*meshnet.Netcheck, error) { return srv.Netcheck(ctx) })
	handleJSON(mux, "whois", func(ctx context.Context, who string) (shownWhoIs, error) { return findWho(ctx, srv, who) })
	handleStream(mux, "dial", func(ctx context.Context, target string) (net.Conn, error) { return dialMesh(ctx, srv, target) })
	handleStream(mux, "accept", func(ctx context.Context, port string) (net.Conn, error) { return acceptOne(ctx, srv, port) })
	return mux
}

// handleJSON answers requests whose parameters and results are JSON.
func handleJSON[P, R any](mux *http.ServeMux, name string, do func(context.Context, P) (R, error)) {
	mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
		var params P
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxParams)).Decode(&params); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		result, err := do(r.Context(), params)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(result)
	})
}

// An askConfig is the flags of commands that ask a node that runs.
type askConfig struct {
	state string
	json  bool
}

func (c *askConfig) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.state, "state", "", "`DIR` of the node, as given to meshnet up\n(default: the one that runs with a directory that meshnet up has chosen)")
	fs.BoolVar(&c.json, "json", false, "print JSON")
}

func (c *askConfig) waitsFor() string { return "the node" }

// dial connects to the node.
func (c *askConfig) dial(ctx context.Context) (net.Conn, error) {
	if c.state != "" {
		conn, err := dialLocal(ctx, filepath.Join(c.state, nodeSocket))
		if errors.Is(err, errNobody) {
			return nil, fmt.Errorf("no node runs in %s: start one with meshnet up -state %[1]s -control URL", c.state)
		}
		return conn, err
	}
	return dialAny(ctx)
}

// dialAny connects to the one node of this user that runs.
func dialAny(ctx context.Context) (found net.Conn, err error) {
	home, err := stateHome()
	if err != nil {
		return nil, fmt.Errorf("-state is missing: the directory of the node: %w", err)
	}
	entries, _ := os.ReadDir(home)
	var problem error
	where := ""
	for _, e := range entries {
		dir := filepath.Join(home, e.Name())
		switch conn, err := dialLocal(ctx, filepath.Join(dir, nodeSocket)); {
		case errors.Is(err, errNobody):
		case err != nil:
			problem = err
		case found != nil:
			conn.Close()
			found.Close()
			return nil, fmt.Errorf("several nodes run: say which with -state, such as %s or %s", where, dir)
		default:
			found, where = conn, dir
		}
	}
	switch {
	case found != nil:
		return found, nil
	case problem != nil:
		return nil, problem
	}
	return nil, errors.New("no node runs: start one with meshnet up -control URL, or say with -state where it has its keys")
}

// askNode asks the node for something.
func askNode[P, R any](ctx context.Context, c *askConfig, name string, params P) (result R, err error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return result, err
	}
	defer conn.Close()
	err = askOver(ctx, conn, name, params, &result)
	return result, err
}

// complete knows the names that the node knows.
func (c *askConfig) complete(ctx context.Context, argument string) []suggested {
	if argument != "NODE" && argument != "[NODE]" && argument != "[NODE|TOKEN]" {
		return nil
	}
	status, err := askNode[none, nodeStatus](ctx, c, "status", none{})
	if err != nil {
		return nil
	}
	return suggestEach(status.Peers, func(p shownPeer) suggested { return suggested{shortName(p.Name, status.Domain), p.owner()} })
}
