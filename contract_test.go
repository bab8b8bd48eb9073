package meshnet_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/meshtest"
)

// What package net promises of connections holds of ours: streams are judged by
// nettest, datagrams by the kernel's (contract_udp_test.go).

// within bounds what a test waits for; no test takes nearly that long.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A way is how packets of two nodes get from one to the other.
type way struct {
	name  string
	nodes func(t *testing.T) (from, to *meshnet.Server)
}

// ways are all that there are.
var ways = []way{
	{"direct", func(t *testing.T) (from, to *meshnet.Server) {
		mesh := meshtest.New(t)
		from, to = mesh.Node("from"), mesh.Node("to")
		mesh.WaitDirect(from, to)
		return from, to
	}},
	{"relayed", func(t *testing.T) (from, to *meshnet.Server) {
		mesh := meshtest.New(t)
		from, to = mesh.Node("from", meshtest.NAT(meshtest.UDPBlocked)), mesh.Node("to")
		mesh.WaitRelayed(from, to)
		return from, to
	}},
}

func TestStreamsKeepTheContract(t *testing.T) {
	for _, way := range ways {
		for _, network := range []string{"tcp4", "tcp6"} {
			t.Run(way.name+" "+network, func(t *testing.T) {
				t.Parallel()
				from, to := way.nodes(t)
				ln, err := to.Listen(network, ":80")
				if err != nil {
					t.Fatal(err)
				}
				nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
					return connect(within(t), from, network, "to:80", ln)
				})
			})
		}
	}
}

// connect returns both ends of a new connection: the caller's, and what ln
// accepts.
func connect(ctx context.Context, from *meshnet.Server, network, address string, ln net.Listener) (dialed, accepted net.Conn, stop func(), err error) {
	type result struct {
		conn net.Conn
		err  error
	}
	came := make(chan result, 1)
	go func() {
		conn, err := ln.Accept()
		came <- result{conn, err}
	}()
	dialed, err = from.Dial(ctx, network, address)
	if err != nil {
		return nil, nil, nil, err
	}
	other := <-came
	if other.err != nil {
		return nil, nil, nil, errors.Join(other.err, dialed.Close())
	}
	return dialed, other.conn, func() { dialed.Close(); other.conn.Close() }, nil
}
