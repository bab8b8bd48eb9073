package portmap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// upnpMapper makes a mapping by UPnP, with a device that the gateway said it
// has at location.
type upnpMapper struct {
	*lan
	location *url.URL
	service  service        // once asked to map
	asked    uint16         // external port that it was asked for last
	external netip.AddrPort // once mapped
}

const (
	// httpTimeout bounds each request: gateways have slow processors.
	httpTimeout = 3 * time.Second
	// otherPorts is how many we try when ours is taken.
	otherPorts = 4
)

func (m *upnpMapper) name() string { return "UPnP" }

func (m *upnpMapper) add(ctx context.Context) (lease, error) {
	services := []service{m.service}
	if !m.external.IsValid() {
		found, err := m.describe(ctx)
		if err != nil {
			return lease{}, err
		}
		services = found
	}
	var errs []error
	for _, c := range m.connections(ctx, services, &errs) {
		got, err := m.addOn(ctx, c)
		if err == nil {
			return got, nil
		}
		errs = append(errs, err)
	}
	return lease{}, errors.Join(errs...)
}

// describe asks what services the device has.
func (m *upnpMapper) describe(ctx context.Context) ([]service, error) {
	status, body, err := m.do(ctx, http.MethodGet, m.location, nil, "", maxDescription)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, &refusal{fmt.Errorf("HTTP status %d for its description", status)}
	}
	return parseDescription(body, m.location, m.gateway)
}

// connection is an external one of the gateway.
type connection struct {
	service
	address netip.Addr
}

// connections returns those of services that are up, those with a public
// address first.
func (m *upnpMapper) connections(ctx context.Context, services []service, errs *[]error) (up []connection) {
	for _, s := range services {
		address, err := m.address(ctx, s)
		if err != nil {
			*errs = append(*errs, err)
			continue
		}
		up = append(up, connection{s, address})
	}
	slices.SortStableFunc(up, func(a, b connection) int { return rank(a.address) - rank(b.address) })
	return up
}

func rank(address netip.Addr) int {
	if address.IsPrivate() {
		return 1
	}
	return 0
}

// address asks for the external address of a connection.
func (m *upnpMapper) address(ctx context.Context, s service) (netip.Addr, error) {
	results, err := m.call(ctx, s, "GetExternalIPAddress", nil)
	if err != nil {
		return netip.Addr{}, err
	}
	address, err := netip.ParseAddr(results["NewExternalIPAddress"])
	if err != nil || !address.Is4() || address.IsUnspecified() {
		return netip.Addr{}, &refusal{errors.New("it has no external address")}
	}
	return address, nil
}

// addOn makes the mapping on one connection: with the external port that we
// had, or our own, or any other.
func (m *upnpMapper) addOn(ctx context.Context, c connection) (lease, error) {
	port := m.port
	if m.external.IsValid() {
		port = m.external.Port()
	}
	for n := 0; ; n++ {
		got, err := m.addPort(ctx, c.service, port)
		if isFault(err, faultConflict) && m.external.IsValid() && m.check(ctx) == nil {
			got, err = port, nil // it is ours already, which to some is a conflict
		}
		if isFault(err, faultConflict) && n < otherPorts {
			port = uint16(1024 + rand.IntN(1<<16-1024))
			continue
		}
		if err != nil {
			return lease{}, err
		}
		l, err := lease{netip.AddrPortFrom(c.address, got), askedLifetime}.usable()
		if err == nil {
			m.external = l.external
		}
		return l, err
	}
}

// addPort makes the mapping and returns its external port.
func (m *upnpMapper) addPort(ctx context.Context, s service, port uint16) (uint16, error) {
	m.service, m.asked = s, port
	if s.version() >= 2 && !m.external.IsValid() {
		results, err := m.call(ctx, s, "AddAnyPortMapping", m.mapping(port, askedLifetime))
		if err == nil {
			if n, err := strconv.ParseUint(results["NewReservedPort"], 10, 16); err == nil {
				return uint16(n), nil
			}
		}
	}
	_, err := m.call(ctx, s, "AddPortMapping", m.mapping(port, askedLifetime))
	if isFault(err, faultPermanentOnly) {
		// Renewed and removed all the same.
		_, err = m.call(ctx, s, "AddPortMapping", m.mapping(port, 0))
	}
	return port, err
}

// entry is what names a mapping.
func entry(port uint16) []argument {
	return []argument{
		{"NewRemoteHost", ""}, // any
		{"NewExternalPort", strconv.Itoa(int(port))},
		{"NewProtocol", "UDP"},
	}
}

func (m *upnpMapper) mapping(port uint16, lifetime time.Duration) []argument {
	return append(entry(port),
		argument{"NewInternalPort", strconv.Itoa(int(m.port))},
		argument{"NewInternalClient", m.self.String()},
		argument{"NewEnabled", "1"},
		argument{"NewPortMappingDescription", "meshnet"},
		argument{"NewLeaseDuration", strconv.Itoa(int(lifetime / time.Second))},
	)
}

func (m *upnpMapper) check(ctx context.Context) error {
	address, err := m.address(ctx, m.service)
	if err != nil {
		return err
	}
	if address != m.external.Addr() {
		return errMoved
	}
	return m.isOurs(ctx, m.external.Port())
}

// isOurs returns an error unless an external port is mapped to us.
func (m *upnpMapper) isOurs(ctx context.Context, external uint16) error {
	results, err := m.call(ctx, m.service, "GetSpecificPortMappingEntry", entry(external))
	if err != nil {
		return err
	}
	if results["NewInternalClient"] != m.self.String() || results["NewInternalPort"] != strconv.Itoa(int(m.port)) {
		return errMissing
	}
	return nil
}

func (m *upnpMapper) remove(ctx context.Context) error {
	external := m.external.Port()
	if external == 0 {
		// We were called off while we waited for an answer: it may be mapped
		// to us, or to another.
		external = m.asked
		if external == 0 || m.isOurs(ctx, external) != nil {
			return nil
		}
	}
	_, err := m.call(ctx, m.service, "DeletePortMapping", entry(external))
	return err
}

// leavesBehind reports whether another mapping that was made instead, to the
// same port of ours, is another to the gateway. By the other protocols it has
// only one for us.
func (m *upnpMapper) leavesBehind(instead lease) bool {
	return m.external.IsValid() && m.external.Port() != instead.external.Port()
}

// call calls an action of a service.
func (m *upnpMapper) call(ctx context.Context, s service, action string, args []argument) (map[string]string, error) {
	soapAction := `"` + s.typ + "#" + action + `"`
	_, body, err := m.do(ctx, http.MethodPost, s.control, appendCall(nil, s.typ, action, args), soapAction, maxSOAP)
	if err != nil {
		return nil, err
	}
	results, err := parseResults(body, action)
	var f *fault
	if errors.As(err, &f) {
		return nil, &refusal{fmt.Errorf("%s: %w", action, f)}
	}
	return results, err
}

// do makes one request of HTTP, to the gateway whatever the name in the URL,
// and follows no redirection.
func (m *upnpMapper) do(ctx context.Context, method string, to *url.URL, body []byte, soapAction string, limit int64) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, httpTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("portmap: %w", err)
	}
	if soapAction != "" {
		request.Header.Set("Content-Type", `text/xml; charset="utf-8"`)
		request.Header["SOAPAction"] = []string{soapAction} // spelt as specified, for gateways that compare
	}
	response, err := m.transport().RoundTrip(request)
	if err != nil {
		return 0, nil, fmt.Errorf("portmap: asking the gateway: %w", err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil && int64(len(answer)) > limit {
		err = errors.New("the answer is too large")
	}
	if err != nil {
		return 0, nil, fmt.Errorf("portmap: asking the gateway: %w", err)
	}
	return response.StatusCode, answer, nil
}

// transport makes one connection for one request.
func (m *upnpMapper) transport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return m.dial(ctx, "tcp4", net.JoinHostPort(m.gateway.String(), port))
		},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 8 << 10,
	}
}
