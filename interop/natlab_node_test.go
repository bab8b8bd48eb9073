package interop

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"strings"
	"time"

	"tailscale.com/envknob"
	"tailscale.com/ipn/store/mem"
	"tailscale.com/tsnet"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/key"
)

// nodeVariable has the test program, started anew, be a node of the NAT
// laboratory: it does nothing but what it is asked to on standard input, on the
// network of the namespace that it was started in, with nothing of that hidden
// or replaced.
const nodeVariable = "MESHNET_INTEROP_NODE"

// serveNode is the node's process. It ends when standard input does.
func serveNode() {
	envknob.SetNoLogsNoSupport()
	server := rpc.NewServer()
	if err := server.RegisterName("Node", new(LabNode)); err != nil {
		panic(err)
	}
	server.ServeCodec(jsonrpc.NewServerCodec(pipes{os.Stdin, os.Stdout}))
}

// pipes are a connection made of two.
type pipes struct {
	io.Reader
	io.WriteCloser
}

// LabNode is what net/rpc offers of the process.
type LabNode struct{ node node }

// Join says how a node becomes a member of a tailnet.
type Join struct {
	Software   string // "meshnet" or "tsnet"
	Hostname   string
	ControlURL string
	AuthKey    string
	Dir        string // for what tsnet keeps in files
}

// Member is a node that is up.
type Member struct {
	Key key.NodePublic
	IP  netip.Addr
}

// Join brings the node up, and has it echo what it is sent by TCP.
func (l *LabNode) Join(how Join, member *Member) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	start := startLabMeshnet
	if how.Software == "tsnet" {
		start = startLabTsnet
	}
	var err error
	if l.node, err = start(ctx, how); err != nil {
		return err
	}
	ln, err := l.node.listen("tcp", linesPort)
	if err != nil {
		return err
	}
	go serveLines(ln)
	ip4, _ := l.node.ips()
	*member = Member{l.node.key(), ip4}
	return nil
}

func startLabMeshnet(ctx context.Context, how Join) (node, error) {
	server := &meshnet.Server{
		Hostname:   how.Hostname,
		ControlURL: how.ControlURL,
		AuthKey:    how.AuthKey,
		Store:      meshnet.NewMemoryStore(),
		Logger:     slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	_, err := server.Up(ctx)
	return &meshnetNode{Server: server}, err
}

func startLabTsnet(ctx context.Context, how Join) (node, error) {
	log := func(format string, a ...any) {
		now := time.Now().Format("15:04:05.000")
		fmt.Fprintf(os.Stderr, "%s %s\n", now, strings.TrimRight(fmt.Sprintf(format, a...), "\n"))
	}
	server := &tsnet.Server{
		Hostname:   how.Hostname,
		ControlURL: how.ControlURL,
		AuthKey:    how.AuthKey,
		Dir:        how.Dir,
		Store:      new(mem.Store),
		Ephemeral:  true, // others need a store of another kind
		Logf:       log,
		UserLogf:   log,
	}
	if _, err := server.Up(ctx); err != nil {
		return nil, err
	}
	client, err := server.LocalClient()
	return &tsnetNode{server, client}, err
}

const linesPort = ":7"

// serveLines sends everything back, until the listener is closed.
func serveLines(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

// Know waits until the node knows others, and the relays where they are.
func (l *LabNode) Know(peers []key.NodePublic, _ *struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return poll(ctx, func(context.Context) error {
		for _, peer := range peers {
			if l.node.path(peer) == (meshnet.Path{}) {
				return fmt.Errorf("no way to %s is known", peer)
			}
		}
		return nil
	})
}

// Call asks for a call to another node.
type Call struct {
	To       Member
	Patience time.Duration // how long to wait for a direct path
}

// Outcome is how a call went.
type Outcome struct {
	Path     meshnet.Path
	Answered time.Duration // when the first answer came, after the call began
	Direct   time.Duration // when the path was direct, if it was
}

// Call has a peer echo one line after the other until the path to it is direct
// or the patience at an end, and two more.
func (l *LabNode) Call(call Call, outcome *Outcome) error {
	ctx, cancel := context.WithTimeout(context.Background(), call.Patience+20*time.Second)
	defer cancel()
	begin := time.Now()
	settled := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- l.converse(ctx, call.To.IP, begin, &outcome.Answered, settled) }()
	outcome.Path = l.awaitDirect(call)
	outcome.Direct = time.Since(begin)
	close(settled)
	return <-ended
}

func (l *LabNode) converse(ctx context.Context, peer netip.Addr, begin time.Time, answered *time.Duration, settled <-chan struct{}) error {
	c, err := l.node.dial(ctx, "tcp", peer.String()+linesPort)
	if err != nil {
		return fmt.Errorf("dialing: %w", err)
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	if err := carry(c, c, "the first line"); err != nil {
		return err
	}
	*answered = time.Since(begin)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for more := 2; more > 0; {
		select {
		case <-settled:
			more--
		case <-tick.C:
		}
		if err := carry(c, c, "another line"); err != nil {
			return err
		}
	}
	return nil
}

// Await waits until the path to a peer that has called is direct, or the
// patience at an end.
func (l *LabNode) Await(call Call, path *meshnet.Path) error {
	*path = l.awaitDirect(call)
	return nil
}

func (l *LabNode) awaitDirect(call Call) meshnet.Path {
	end := time.Now().Add(call.Patience)
	pause := 2 * time.Millisecond
	for {
		path := l.node.path(call.To.Key)
		if path.Direct.IsValid() || !time.Now().Before(end) {
			return path
		}
		time.Sleep(pause) // nobody tells when a path changes
		pause = min(pause*5/4, 200*time.Millisecond)
	}
}
