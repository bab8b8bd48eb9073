package portmap

import (
	"context"
	"net/netip"
	"time"
)

// pcpMapper makes a mapping by PCP.
type pcpMapper struct {
	*lan
	external netip.AddrPort // once mapped
	epoch    epoch
}

func (m *pcpMapper) name() string { return "PCP" }

func (m *pcpMapper) add(ctx context.Context) (lease, error) {
	suggested := m.external
	if !suggested.IsValid() {
		suggested = netip.AddrPortFrom(netip.IPv4Unspecified(), m.port)
	}
	r, err := m.request(ctx, suggested, askedLifetime)
	if err != nil {
		return lease{}, err
	}
	got, err := lease{r.external, r.lifetime}.usable()
	m.external = got.external
	return got, err
}

// check asks for the gateway's epoch, which starts anew when its external
// address changes, too.
func (m *pcpMapper) check(ctx context.Context) error {
	var reply pcpReply
	err := m.ask(ctx, appendPCPAnnounce(nil, m.self), func(b []byte) bool {
		r, err := parsePCP(b)
		reply = r
		return err == nil && r.opcode == pcpAnnounce
	})
	switch {
	case err != nil:
		return err
	case reply.result != 0:
		return refuse(reply.result)
	case !m.epoch.goesOn(time.Now(), reply.epoch):
		return errRestarted
	}
	return nil
}

func (m *pcpMapper) remove(ctx context.Context) error {
	_, err := m.request(ctx, netip.AddrPort{}, 0)
	return err
}

// request sends a MAP request and returns the answer, which is a success.
func (m *pcpMapper) request(ctx context.Context, external netip.AddrPort, lifetime time.Duration) (pcpReply, error) {
	q := pcpMapRequest{m.self, m.nonce, m.port, external, lifetime}
	var reply pcpReply
	err := m.ask(ctx, appendPCPMap(nil, q), func(b []byte) bool {
		r, err := parsePCP(b)
		reply = r
		return err == nil && r.answers(q)
	})
	if err == nil && reply.result != 0 {
		err = refuse(reply.result)
	}
	if err == nil {
		m.epoch.goesOn(time.Now(), reply.epoch) // if not, the request has made the mapping anew
	}
	return reply, err
}
