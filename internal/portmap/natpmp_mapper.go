package portmap

import (
	"context"
	"net/netip"
	"time"
)

// natpmpMapper makes a mapping by NAT-PMP.
type natpmpMapper struct {
	*lan
	external netip.AddrPort // once mapped
	epoch    epoch
}

func (m *natpmpMapper) name() string { return "NAT-PMP" }

func (m *natpmpMapper) add(ctx context.Context) (lease, error) {
	suggested := m.external.Port()
	if suggested == 0 {
		suggested = m.port
	}
	// First what leaves nothing behind if the other fails.
	address, err := m.request(ctx, natpmpAddress, appendNATPMPAddress(nil))
	if err != nil {
		return lease{}, err
	}
	mapped, err := m.request(ctx, natpmpMapUDP, appendNATPMPMap(nil, m.port, suggested, askedLifetime))
	if err != nil {
		return lease{}, err
	}
	m.epoch.goesOn(time.Now(), mapped.epoch) // if not, the request has made the mapping anew
	got, err := lease{netip.AddrPortFrom(address.address, mapped.external), mapped.lifetime}.usable()
	m.external = got.external
	return got, err
}

func (m *natpmpMapper) check(ctx context.Context) error {
	r, err := m.request(ctx, natpmpAddress, appendNATPMPAddress(nil))
	switch {
	case err != nil:
		return err
	case !m.epoch.goesOn(time.Now(), r.epoch):
		return errRestarted
	case r.address != m.external.Addr():
		return errMoved
	}
	return nil
}

func (m *natpmpMapper) remove(ctx context.Context) error {
	_, err := m.request(ctx, natpmpMapUDP, appendNATPMPMap(nil, m.port, 0, 0))
	return err
}

// request sends a request and returns the answer, which is a success.
func (m *natpmpMapper) request(ctx context.Context, opcode byte, request []byte) (natpmpReply, error) {
	var reply natpmpReply
	err := m.ask(ctx, request, func(b []byte) bool {
		r, err := parseNATPMP(b)
		reply = r
		return err == nil && r.opcode == opcode && (opcode != natpmpMapUDP || r.result != 0 || r.port == m.port)
	})
	if err == nil && reply.result != 0 {
		err = refuse(reply.result)
	}
	return reply, err
}
