package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/meshnet-go/meshnet/coord"
)

// An adminConfig is the flags of commands that administer a coordinator.
type adminConfig struct {
	dir  string
	json bool
	down bool // set by ask: no coordinator runs in dir
}

func (c *adminConfig) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.dir, "dir", "", "`DIR` of the coordinator, as given to meshnet coord; required")
	fs.BoolVar(&c.json, "json", false, "print JSON")
}

func (c *adminConfig) waitsFor() string { return "the coordinator in " + c.dir }

// An operation is something that an administrator asks of a coordinator. A
// coordinator that runs does it when asked on its admin socket, by an HTTP
// request with the operation's name as path and JSON in both directions.
type operation[P, R any] struct {
	name string
	do   func(ctx context.Context, s *coord.Server, params P) (R, error)
}

// done tells that something has been done for which there is nothing to show.
func (c *adminConfig) done(out io.Writer, err error, sentence string) error {
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(out, none{})
	}
	_, err = fmt.Fprintln(out, plain(sentence))
	return err
}

// none is for operations that are told nothing, or have nothing to tell.
type none struct{}

const maxParams = 2 << 20 // bytes; a policy is the largest

// ask has the operation done by the coordinator that runs in the directory or,
// when none does, here, with its database.
func (o operation[P, R]) ask(ctx context.Context, c *adminConfig, params P) (result R, err error) {
	if c.dir == "" {
		return result, usagef("-dir is missing: the directory of the coordinator, as given to meshnet coord -dir")
	}
	for {
		conn, err := dialLocal(ctx, filepath.Join(c.dir, adminSocket))
		switch {
		case err == nil:
			defer conn.Close()
			err = askOver(ctx, conn, o.name, params, &result)
			return result, err
		case !errors.Is(err, errNobody):
			return result, err
		}
		result, err = o.doHere(ctx, c.dir, params)
		if !errors.Is(err, errServed) { // it has been started just now
			c.down = true
			return result, err
		}
	}
}

// doHere does the operation without a coordinator that runs.
func (o operation[P, R]) doHere(ctx context.Context, dir string, params P) (result R, err error) {
	if _, err := os.Stat(filepath.Join(dir, database)); errors.Is(err, fs.ErrNotExist) {
		return result, fmt.Errorf("there is no coordinator in %s: start one with meshnet coord -dir %[1]s", dir)
	}
	store, err := openDatabase(ctx, dir)
	if err != nil {
		return result, err
	}
	defer store.Close()
	kept, err := loadSettings(dir)
	if err != nil {
		return result, err
	}
	server, err := coord.New(coord.Config{Store: store, Domain: kept.Domain})
	if err != nil {
		return result, err
	}
	defer server.Close()
	return o.do(ctx, server, params)
}

// register makes the operation one of the admin socket. Some look first and then
// change what they saw, so that one is done after the other.
func (o operation[P, R]) register(mux *http.ServeMux, s *coord.Server, turn *sync.Mutex) {
	handleJSON(mux, o.name, func(ctx context.Context, params P) (R, error) {
		turn.Lock()
		defer turn.Unlock()
		return o.do(ctx, s, params)
	})
}

// askOver makes one request on a local socket: params and result are JSON.
func askOver(ctx context.Context, conn net.Conn, name string, params, result any) error {
	body, err := json.Marshal(params)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, "POST", "http://local/"+name, bytes.NewReader(body))
	if err != nil {
		return err
	}
	transport := &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives: true,
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("the process that serves this directory does not answer: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return json.NewDecoder(response.Body).Decode(result)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxParams))
	if err != nil {
		return err
	}
	return errors.New(string(bytes.TrimSpace(text)))
}

// adminHandler answers on the admin socket.
func adminHandler(s *coord.Server) http.Handler {
	mux := http.NewServeMux()
	turn := new(sync.Mutex)
	for _, o := range operations() {
		o.register(mux, s, turn)
	}
	return mux
}

// A registrar is an operation, whatever it is told and tells.
type registrar interface {
	register(mux *http.ServeMux, s *coord.Server, turn *sync.Mutex)
}

// operations are all that the admin socket knows.
func operations() []registrar {
	return []registrar{
		createAuthKey, listAuthKeys, revokeAuthKey,
		listNodes, showNode, renameNode, tagNode, giveNode, expireNodes, renewNodes, removeNodes,
		listWaiting, approveNode, rejectNode,
		listUsers, addUser, changeUser, removeUser,
		listRoutes, approveRoutes, rejectRoutes,
		getPolicy, setPolicy,
		getDNS, changeDNS,
		getAuthority,
		resetSecret,
	}
}

// kept is what a coordinator is started with and commands need to know that
// open its database when it does not run.
type kept struct {
	Domain string `json:",omitempty"`
}

func loadSettings(dir string) (k kept, err error) {
	text, err := os.ReadFile(filepath.Join(dir, settings))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	return k, err
}

func (k kept) save(dir string) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, settings), append(text, '\n'), 0o600)
}

// serveAdmin answers on the admin socket until the returned function is called.
func serveAdmin(dir string, s *coord.Server) (stop func(), err error) {
	ln, err := listenLocal(filepath.Join(dir, adminSocket))
	if err != nil {
		return nil, err
	}
	return serveLocal(ln, adminHandler(s)), nil
}
