package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"syscall/js"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/browser"
)

// up joins the mesh. Called again after it has failed, it tries again.
func (p *page) up(options js.Value) (any, error) {
	if p.server == nil {
		server, err := newServer(options)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		p.server, p.client, p.cancel = server, server.HTTPClient(), cancel
		if tell := options.Get("onStatus"); tell.Type() == js.TypeFunction {
			go watch(ctx, server, tell)
		}
	}
	status, err := p.server.Up(context.Background())
	if err != nil {
		return nil, err
	}
	return describe(status), nil
}

func newServer(options js.Value) (*meshnet.Server, error) {
	server := &meshnet.Server{
		Hostname:   text(options, "hostname"),
		ControlURL: text(options, "controlURL"),
		ControlKey: text(options, "controlKey"),
		AuthKey:    text(options, "authKey"),
		Ephemeral:  options.Get("ephemeral").Truthy(),
		ExitNode:   text(options, "exitNode"),

		AcceptRoutes: options.Get("acceptRoutes").Truthy(),
		PostQuantum:  options.Get("postQuantum").Truthy(),
	}
	if server.Hostname == "" {
		server.Hostname = "browser"
	}
	if log := options.Get("onLog"); log.Type() == js.TypeFunction {
		server.Logger = slog.New(slog.NewTextHandler(logWriter{log}, nil))
	}
	if login := options.Get("onLogin"); login.Type() == js.TypeFunction {
		server.OnAuthURL = func(url string) { login.Invoke(url) }
	}
	if name := text(options, "store"); name != "" {
		store, err := browser.NewStore(name)
		if err != nil {
			return nil, err
		}
		server.Store = store
	}
	return server, nil
}

// text returns a property that is a string, or "".
func text(object js.Value, name string) string {
	if v := object.Get(name); v.Type() == js.TypeString {
		return v.String()
	}
	return ""
}

// A logWriter gives lines to a function.
type logWriter struct{ js.Value }

func (w logWriter) Write(line []byte) (int, error) {
	w.Invoke(string(line))
	return len(line), nil
}

// watch tells the page how the node stands, whenever that changes.
func watch(ctx context.Context, server *meshnet.Server, tell js.Value) {
	for status := range server.Watch(ctx) {
		tell.Invoke(describe(status))
	}
}

// pingPatience is how long a page waits for the answer to a ping.
const pingPatience = 5 * time.Second

func (p *page) ping(name string) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), pingPatience)
	defer cancel()
	ip, err := p.lookUp(name)
	if err != nil {
		return nil, err
	}
	pong, err := p.server.Ping(ctx, ip, meshnet.PingDisco)
	if err != nil {
		return nil, err
	}
	return map[string]any{"latency": milliseconds(pong.Latency), "path": describePath(pong.Path)}, nil
}

// lookUp returns the address of a peer, by its address or its full or short name.
func (p *page) lookUp(name string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip, nil
	}
	status := p.server.Status()
	for _, peer := range status.Peers {
		if (name == peer.Name || name+"."+status.Domain == peer.Name) && len(peer.Addresses) > 0 {
			return peer.Addresses[0], nil
		}
	}
	return netip.Addr{}, &net.DNSError{Err: "no such peer", Name: name, IsNotFound: true}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (p *page) whoIs(addr string) (any, error) {
	who, err := p.server.WhoIs(context.Background(), addr)
	if err != nil {
		return nil, err
	}
	return map[string]any{"name": who.Node.Name, "user": who.User.LoginName, "tags": list(who.Node.Tags)}, nil
}

// describeError is what a promise is rejected with. The code is for programs.
func describeError(err error) js.Value {
	v := js.Global().Get("Error").New(err.Error())
	v.Set("name", "MeshnetError")
	login, needsLogin := errors.AsType[*meshnet.NeedsLoginError](err)
	_, refused := errors.AsType[*meshnet.RefusedError](err)
	switch {
	case needsLogin:
		v.Set("code", "needs-login")
		v.Set("url", login.URL)
	case refused:
		v.Set("code", "refused")
	case errors.Is(err, meshnet.ErrControlKeyChanged):
		v.Set("code", "control-key-changed")
	}
	return v
}
