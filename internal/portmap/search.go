package portmap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
)

// Services are the protocols that a gateway speaks.
type Services struct {
	Searched          bool // else the rest is not known
	PCP, NATPMP, UPnP bool
}

// finding is what a search found.
type finding struct {
	pcp, natpmp bool
	devices     []*url.URL // of UPnP
}

// maxDevices is how many devices of UPnP we look at.
const maxDevices = 4

func (f *finding) any() bool { return f.pcp || f.natpmp || len(f.devices) > 0 }

func (f *finding) services() Services {
	return Services{Searched: true, PCP: f.pcp, NATPMP: f.natpmp, UPnP: len(f.devices) > 0}
}

// search asks the gateway in all protocols at once what it speaks, in requests
// that have no effect. It ends when it has found something and its time is
// over, or if hurried when it has found PCP, than which there is no better.
func (l *lan) search(ctx context.Context, hurried bool) (*finding, error) {
	pc, done, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	found := new(finding)
	wait := firstWait
	for range tries {
		if err := l.sendProbes(pc); err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
		_, err := receive(pc, wait, func(from netip.AddrPort, b []byte) bool {
			found.take(from, b, l.gateway)
			return hurried && found.pcp
		})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("portmap: looking for services: %w", err)
		}
		if found.any() {
			return found, nil
		}
		wait *= 2
	}
	return nil, errSilent
}

// sendProbes fails when none of them could be sent.
func (l *lan) sendProbes(pc net.PacketConn) error {
	var errs []error
	sent := 0
	send := func(b []byte, to netip.Addr, port uint16) {
		if _, err := pc.WriteTo(b, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, port))); err != nil {
			errs = append(errs, err)
			return
		}
		sent++
	}
	send(appendPCPAnnounce(nil, l.self), l.gateway, pcpPort)
	send(appendNATPMPAddress(nil), l.gateway, pcpPort)
	for _, kind := range ssdpTargets() {
		send(appendSSDPSearch(nil, kind), l.gateway, ssdpPort)
		send(appendSSDPSearch(nil, kind), ssdpGroup(), ssdpPort)
	}
	if sent == 0 {
		return fmt.Errorf("portmap: asking the gateway: %w", errors.Join(errs...))
	}
	return nil
}

// take reads an answer, which may come from anybody.
func (f *finding) take(from netip.AddrPort, b []byte, gateway netip.Addr) {
	switch {
	case from.Addr() != gateway:
	case from.Port() == pcpPort:
		if r, err := parsePCP(b); err == nil && r.opcode == pcpAnnounce && r.result == 0 {
			f.pcp = true
		}
		if r, err := parseNATPMP(b); err == nil && r.opcode == natpmpAddress && r.result == 0 {
			f.natpmp = true
		}
	default: // some devices answer from another port than SSDP's
		f.takeDevice(b, gateway)
	}
}

func (f *finding) takeDevice(b []byte, gateway netip.Addr) {
	location, err := parseSSDP(b)
	if err != nil || len(f.devices) == maxDevices {
		return
	}
	u, err := gatewayURL(location, nil, gateway)
	if err != nil {
		return
	}
	for _, known := range f.devices {
		if known.String() == u.String() {
			return
		}
	}
	f.devices = append(f.devices, u)
}

// find makes a mapping by the best protocol that will.
func (l *lan) find(ctx context.Context) (mapper, lease, Services, error) {
	found, err := l.search(ctx, true)
	if err != nil {
		return nil, lease{}, Services{Searched: true}, err
	}
	var errs []error
	if found.pcp {
		m := &pcpMapper{lan: l}
		got, err := m.add(ctx)
		if err == nil || ctx.Err() != nil {
			return m, got, found.services(), err
		}
		errs = append(errs, err)
		if found, err = l.search(ctx, false); err != nil {
			return nil, lease{}, Services{Searched: true}, errors.Join(append(errs, err)...)
		}
	}
	for _, m := range l.otherMappers(found) {
		got, err := m.add(ctx)
		if err == nil || ctx.Err() != nil {
			return m, got, found.services(), err
		}
		errs = append(errs, fmt.Errorf("%s: %w", m.name(), err))
	}
	return nil, lease{}, found.services(), errors.Join(errs...)
}

// otherMappers are those for what was found, but PCP, in order.
func (l *lan) otherMappers(found *finding) (all []mapper) {
	if found.natpmp {
		all = append(all, &natpmpMapper{lan: l})
	}
	for _, location := range found.devices {
		all = append(all, &upnpMapper{lan: l, location: location})
	}
	return all
}
