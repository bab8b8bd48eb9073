package meshnet

import (
	"context"
	"net"
	"sync"

	"github.com/meshnet-go/meshnet/internal/netstack"
)

// A passage gives what peers begin, and nobody listens for, to whom it
// concerns: a fallback handler, the Router, or nobody. The nil passage is that
// of a node in TUN mode, where the host's kernel does it.
type passage struct {
	node  *node
	stack *netstack.Stack

	updating sync.Mutex
	running  sync.WaitGroup // but for the handlers of the user's
	cancel   context.CancelFunc
}

// newPassage starts a passage, which ends with the stack.
func newPassage(n *node, stack *netstack.Stack) *passage {
	ctx, cancel := context.WithCancel(context.Background())
	p := &passage{node: n, stack: stack, cancel: cancel}
	p.update()
	p.running.Go(func() { p.serve(ctx) })
	return p
}

// update has the stack offer what there is a handler for. For all else it
// refuses connections by itself.
func (p *passage) update() {
	if p == nil {
		return
	}
	p.updating.Lock()
	defer p.updating.Unlock()
	fallbacks, routed := p.node.cfg.fallbacks, p.node.cfg.router != nil
	p.stack.TakeStrays(routed || fallbacks.has(netstack.NetworkTCP), routed || fallbacks.has(netstack.NetworkUDP), routed)
}

// wait ends what the Router has under way. The stack is closed already.
func (p *passage) wait() {
	if p == nil {
		return
	}
	p.cancel()
	p.running.Wait()
}

func (p *passage) serve(ctx context.Context) {
	for {
		stray, err := p.stack.AcceptStray()
		if err != nil {
			return
		}
		p.running.Go(func() { p.handle(ctx, stray) })
	}
}

// handle settles a stray. There are never more of them at once than the stack
// has places for.
func (p *passage) handle(ctx context.Context, s *netstack.Stray) {
	cfg := &p.node.cfg
	handler, intercept := cfg.fallbacks.decide(s.Network, s.Src, s.Dst)
	switch {
	case intercept && handler != nil:
		p.serveByHandler(s, handler)
	case !intercept && !s.Own && cfg.router != nil:
		cfg.log.Debug("routing", "network", s.Network, "from", s.Src, "to", s.Dst)
		if err := cfg.router.serve(ctx, s); err != nil {
			cfg.log.Debug("routing has ended", "network", s.Network, "from", s.Src, "to", s.Dst, "err", err)
		}
	}
	s.Reject() // unless somebody has accepted it
}

func (p *passage) serveByHandler(s *netstack.Stray, handler func(net.Conn)) {
	conn, err := s.Accept()
	if err != nil {
		p.node.cfg.log.Debug("accepting for a fallback handler", "network", s.Network, "from", s.Src, "to", s.Dst, "err", err)
		return
	}
	go handler(p.node.withRemote(conn)) // as long as it likes
}
