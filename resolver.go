package meshnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/meshnet-go/meshnet/internal/dns"
)

// A Resolver looks names and addresses up as [Server.Dial] does. Its methods are
// those of [net.Resolver] of the same name.
//
// Names of nodes and the coordinator's extra records are answered from the
// network map. For other names the DNS servers are asked that the coordinator
// names for them or for all, if they can be reached in the mesh: through the
// mesh, by UDP and TCP. Nothing is asked of the host, unless
// [Server.HostFallback] is set. Answers are not kept.
type Resolver struct{ server *Server }

// Resolver returns the resolver of the mesh. It starts the node, and waits until
// that is up, when it is used.
func (s *Server) Resolver() *Resolver { return &Resolver{s} }

// LookupHost returns the addresses of a host, as text. A name that is not found
// is a [*net.DNSError].
func (r *Resolver) LookupHost(ctx context.Context, host string) ([]string, error) {
	ips, err := r.LookupNetIP(ctx, "ip", host)
	return texts(ips), err
}

// LookupNetIP returns the addresses of a host: of both IP versions for the
// network "ip", or of one for "ip4" and "ip6". They are such as this node can
// have use for: it has an address of that version itself.
func (r *Resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	family, ok := map[string]int{"ip": 0, "ip4": 4, "ip6": 6}[network]
	if !ok {
		return nil, net.UnknownNetworkError(network)
	}
	n, v, err := r.server.member(ctx)
	if err != nil {
		return nil, err
	}
	ips, err := n.lookup(ctx, v, host, family)
	if isNotFound(err) && n.cfg.hostFallback {
		return net.DefaultResolver.LookupNetIP(ctx, network, host)
	}
	return ips, err
}

// LookupAddr returns the full names of an address, each with a trailing dot.
func (r *Resolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, &net.DNSError{Err: "not an IP address", Name: addr}
	}
	n, v, err := r.server.member(ctx)
	if err != nil {
		return nil, err
	}
	if name, ok := v.netMap.Names.Reverse(ip.Unmap()); ok {
		return []string{name + "."}, nil
	}
	answer, err := n.ask(ctx, v, dns.Question{Name: dns.ReverseName(ip), Type: dns.TypePTR})
	if err == nil && len(answer.Names) == 0 {
		err = notFound(addr)
	}
	if isNotFound(err) && n.cfg.hostFallback {
		return net.DefaultResolver.LookupAddr(ctx, addr)
	}
	names := make([]string, len(answer.Names))
	for i, name := range answer.Names {
		names[i] = name + "."
	}
	return names, err
}

// texts are values as they are printed.
func texts[T fmt.Stringer](values []T) (list []string) {
	for _, v := range values {
		list = append(list, v.String())
	}
	return list
}

// lookup returns the addresses of a host that can be dialled, the preferred
// first. It asks the mesh, and nobody else.
func (n *node) lookup(ctx context.Context, v view, host string, family int) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return v.usable(host, []netip.Addr{ip.Unmap()}, family)
	}
	names := v.netMap.Names
	if found, ok := names.Lookup(host); ok {
		return v.usable(host, found, family)
	}
	if !names.Foreign(host) {
		return nil, notFound(host)
	}
	found, err := n.askAddrs(ctx, v, host, family)
	if err != nil {
		return nil, err
	}
	return v.usable(host, found, family)
}

// notFound says that there is no such name.
func notFound(name string) error {
	return &net.DNSError{Err: "no such name in the mesh", Name: name, IsNotFound: true}
}

func isNotFound(err error) bool {
	failure, ok := errors.AsType[*net.DNSError](err)
	return ok && failure.IsNotFound
}

// usable returns the addresses of the wanted IP version that we have one of
// ourselves, IPv4 before IPv6.
func (v view) usable(host string, found []netip.Addr, family int) (usable []netip.Addr, err error) {
	self4, self6 := v.ips()
	for _, want := range []struct {
		family int
		usable bool
	}{{4, self4.IsValid()}, {6, self6.IsValid()}} {
		for _, ip := range found {
			if want.usable && (family == 0 || family == want.family) && ip.Is4() == (want.family == 4) {
				usable = append(usable, ip)
			}
		}
	}
	if len(usable) == 0 {
		return nil, &net.AddrError{Err: "no suitable address", Addr: host}
	}
	return usable, nil
}

// askAddrs asks DNS servers for addresses.
func (n *node) askAddrs(ctx context.Context, v view, host string, family int) ([]netip.Addr, error) {
	self4, self6 := v.ips()
	var questions []dns.Question
	if family != 6 && self4.IsValid() {
		questions = append(questions, dns.Question{Name: host, Type: dns.TypeA})
	}
	if family != 4 && self6.IsValid() {
		questions = append(questions, dns.Question{Name: host, Type: dns.TypeAAAA})
	}
	answers := make([]dns.Answer, len(questions))
	errs := make([]error, len(questions))
	var asking sync.WaitGroup
	for i, q := range questions {
		asking.Go(func() { answers[i], errs[i] = n.ask(ctx, v, q) })
	}
	asking.Wait()
	var found []netip.Addr
	for _, a := range answers {
		found = append(found, a.Addrs...)
	}
	if len(found) > 0 {
		return found, nil
	}
	// A failure of either may be why there is nothing.
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil && !isNotFound(err) }); i >= 0 {
		return nil, errs[i]
	}
	return nil, notFound(host)
}
