//go:build !js

package derp

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// fallbackDelay is the head start of the address that is tried first
// (RFC 8305, "Happy Eyeballs"; Tailscale's clients wait as long).
const fallbackDelay = 200 * time.Millisecond

// target is what to give to a DialContext function.
type target struct{ network, host string }

// targets returns the addresses at which to try the relay, most promising
// first.
func (a *attempt) targets() []target {
	n := a.node
	if n.IPv4 == "" && n.IPv6 == "" {
		return []target{{"tcp", n.HostName}} // the dialer chooses
	}
	var addrs, names []target // names come last: they must be looked up
	add := func(network, override string, fits func(netip.Addr) bool) {
		host := cmp.Or(override, n.HostName)
		ip, err := netip.ParseAddr(host)
		switch {
		case err == nil && fits(ip):
			addrs = append(addrs, target{network, host})
		case err != nil && override == "": // an override that is no address is "none"
			names = append(names, target{network, host})
		}
	}
	add("tcp6", n.IPv6, netip.Addr.Is6)
	add("tcp4", n.IPv4, netip.Addr.Is4)
	return append(addrs, names...)
}

// connect opens a connection to the relay: to its first address, and when that
// fails or takes long, to the next at the same time. The first success wins.
func (a *attempt) connect(ctx context.Context) (net.Conn, error) {
	dial := a.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	list := a.targets()
	if len(list) == 0 {
		return nil, errors.New("the map gives it no usable address")
	}

	var dials sync.WaitGroup
	defer dials.Wait() // once the context has ended: nothing runs on when we return
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		nc  net.Conn
		err error
	}
	results := make(chan result)
	start := func(t target) {
		nc, err := dial(ctx, t.network, net.JoinHostPort(t.host, strconv.Itoa(a.port())))
		select {
		case results <- result{nc, err}:
		case <-ctx.Done(): // another won, or time is up
			if err == nil {
				nc.Close()
			}
		}
	}

	next := time.NewTimer(0)
	defer next.Stop()
	running := 0
	var firstErr error
	for running > 0 || len(list) > 0 {
		select {
		case <-next.C:
			if len(list) > 0 {
				t := list[0]
				list = list[1:]
				dials.Go(func() { start(t) })
				running++
				next.Reset(fallbackDelay)
			}
		case r := <-results:
			if r.err == nil {
				return r.nc, nil
			}
			if firstErr == nil {
				firstErr = r.err
			}
			running--
			next.Reset(0)
		case <-ctx.Done():
			if firstErr != nil {
				return nil, firstErr
			}
			return nil, context.Cause(ctx)
		}
	}
	return nil, firstErr
}
