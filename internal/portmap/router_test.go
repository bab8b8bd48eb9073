package portmap

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// router is a gateway in memory, with the network between it and us. It speaks
// what its fields say; they may be changed at any time, under its lock.
type router struct {
	mu sync.Mutex

	pcp, natpmp  bool
	upnp         int           // version of its service, 0 for none
	silent       bool          // answers nothing
	refuse       byte          // result of PCP and NAT-PMP requests for mappings
	delay        time.Duration // of answers
	lifetime     time.Duration // most that it gives
	external     netip.Addr
	started      time.Time
	permanent    bool          // UPnP mappings cannot end
	jealous      bool          // UPnP mappings cannot be renewed
	slowWeb      time.Duration // from an action to its answer
	location     string
	description  string                            // instead of the usual
	web          func(*http.Request) (int, string) // instead of the usual
	reply        func(from netip.AddrPort, b []byte) (netip.AddrPort, []byte)
	mappings     map[uint16]netip.AddrPort   // external port to ours
	nonces       map[netip.AddrPort]pcpNonce // of mappings made by PCP, by ours
	requests     []string
	sockets      map[netip.AddrPort]*socket
	nextPort     uint16
	dialed       []string
	listenFailed error
	failures     int // of sockets that read, before anything comes
}

func newRouter() *router {
	return &router{
		lifetime: 24 * time.Hour,
		external: netip.MustParseAddr("203.0.113.9"),
		started:  time.Now().Add(-time.Hour),
		location: "http://192.168.1.1:5000/rootDesc.xml",
		mappings: map[uint16]netip.AddrPort{},
		nonces:   map[netip.AddrPort]pcpNonce{},
		sockets:  map[netip.AddrPort]*socket{},
		nextPort: 50000,
	}
}

// set changes the router.
func (r *router) set(change func(*router)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// restart has the router lose its mappings.
func (r *router) restart() {
	r.set(func(r *router) {
		r.started = time.Now()
		clear(r.mappings)
		clear(r.nonces)
	})
}

// took returns the requests since the last time.
func (r *router) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.requests = nil }()
	return r.requests
}

func (r *router) mapped() map[uint16]netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[uint16]netip.AddrPort{}
	for port, to := range r.mappings {
		all[port] = to
	}
	return all
}

func (r *router) epoch() uint32 { return uint32(time.Since(r.started) / time.Second) }

// answer returns answers to a datagram. The lock is held.
func (r *router) answer(from, to netip.AddrPort, b []byte) [][]byte {
	switch {
	case to == netip.AddrPortFrom(gate, pcpPort) && b[0] == pcpVersion && r.pcp:
		return [][]byte{r.answerPCP(from, b)}
	case to == netip.AddrPortFrom(gate, pcpPort) && b[0] == natpmpVersion && r.natpmp:
		return [][]byte{r.answerNATPMP(from, b)}
	case to == netip.AddrPortFrom(gate, pcpPort) && b[0] == pcpVersion && r.natpmp:
		return [][]byte{{0, 128, 0, 1, 0, 0, 0, 0}} // RFC 6886 section 3.5
	case to.Port() == ssdpPort && (to.Addr() == gate || to.Addr() == ssdpGroup()) && r.upnp > 0:
		return [][]byte{[]byte("HTTP/1.1 200 OK\r\nLOCATION: " + r.location + "\r\n\r\n")}
	}
	return nil
}

func (r *router) answerPCP(from netip.AddrPort, b []byte) []byte {
	opcode, lifetime := b[1], binary.BigEndian.Uint32(b[4:])
	reply := []byte{pcpVersion, opcode | pcpResponse, 0, 0}
	client := netip.AddrFrom16([16]byte(b[8:])).Unmap()
	if client != from.Addr() {
		reply[3] = 12
	}
	port, external := uint16(0), uint16(0)
	if opcode == pcpMap {
		reply[3] = max(reply[3], r.refuse)
		port, external = binary.BigEndian.Uint16(b[40:]), binary.BigEndian.Uint16(b[42:])
		r.requests = append(r.requests, fmt.Sprintf("PCP map %d for %d", port, lifetime))
		if owner, ok := r.nonces[netip.AddrPortFrom(client, port)]; ok && owner != pcpNonce(b[24:]) {
			reply[3] = 2 // not authorized
		}
	} else {
		r.requests = append(r.requests, "PCP announce")
	}
	given := min(time.Duration(lifetime)*time.Second, r.lifetime)
	if opcode == pcpMap && reply[3] == 0 {
		ours := netip.AddrPortFrom(client, port)
		external = r.change(ours, external, given > 0)
		if r.nonces[ours] = pcpNonce(b[24:]); given == 0 {
			delete(r.nonces, ours)
		}
	}
	reply = binary.BigEndian.AppendUint32(reply, uint32(given/time.Second))
	reply = binary.BigEndian.AppendUint32(reply, r.epoch())
	reply = append(reply, make([]byte, 12)...)
	if opcode != pcpMap {
		return reply
	}
	reply = append(reply, b[24:42]...)
	reply = binary.BigEndian.AppendUint16(reply, external)
	return appendAddr16(reply, r.external)
}

func (r *router) answerNATPMP(from netip.AddrPort, b []byte) []byte {
	reply := []byte{natpmpVersion, natpmpResponse | b[1], 0, 0}
	reply = binary.BigEndian.AppendUint32(reply, r.epoch())
	if b[1] == natpmpAddress {
		r.requests = append(r.requests, "NAT-PMP address")
		raw := r.external.As4()
		return append(reply, raw[:]...)
	}
	port, external := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	lifetime := binary.BigEndian.Uint32(b[8:])
	r.requests = append(r.requests, fmt.Sprintf("NAT-PMP map %d for %d", port, lifetime))
	if r.refuse != 0 {
		reply[3] = r.refuse
		return reply
	}
	given := min(time.Duration(lifetime)*time.Second, r.lifetime)
	external = r.change(netip.AddrPortFrom(from.Addr(), port), external, given > 0)
	reply = binary.BigEndian.AppendUint16(reply, port)
	reply = binary.BigEndian.AppendUint16(reply, external)
	return binary.BigEndian.AppendUint32(reply, uint32(given/time.Second))
}

// change makes or deletes a mapping and returns its external port: that which
// it has, the one suggested, or one that is free. The lock is held.
func (r *router) change(to netip.AddrPort, external uint16, make bool) uint16 {
	for port, has := range r.mappings {
		if has == to {
			external = port
		}
	}
	if !make {
		delete(r.mappings, external)
		return 0
	}
	for has := r.mappings[external]; has.IsValid() && has != to; has = r.mappings[external] {
		external++
	}
	r.mappings[external] = to
	return external
}

// serve answers requests of HTTP on a connection.
func (r *router) serve(c net.Conn) {
	defer c.Close()
	request, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	body, _ := io.ReadAll(request.Body)
	r.mu.Lock()
	status, answer := 0, ""
	if r.web != nil {
		status, answer = r.web(request)
	}
	if status == 0 {
		status, answer = r.answerWeb(request, string(body))
	}
	slow := r.slowWeb
	r.mu.Unlock()
	<-time.After(slow)
	fmt.Fprintf(c, "HTTP/1.1 %d X\r\nConnection: close\r\nLocation: http://203.0.113.66/\r\nContent-Length: %d\r\n\r\n%s", status, len(answer), answer)
}

func (r *router) answerWeb(request *http.Request, body string) (status int, answer string) {
	typ := "urn:schemas-upnp-org:service:WANIPConnection:" + strconv.Itoa(r.upnp)
	if request.Method == http.MethodGet {
		r.requests = append(r.requests, "UPnP description")
		if r.description != "" {
			return 200, r.description
		}
		return 200, exampleDescription(typ, "/ctl")
	}
	action, ok := strings.CutPrefix(strings.Trim(request.Header.Get("SOAPAction"), `"`), typ+"#")
	r.requests = append(r.requests, "UPnP "+action)
	if !ok || request.URL.Path != "/ctl" {
		return 404, "<html>Not Found</html>"
	}
	results, err := r.act(action, func(name string) string {
		_, rest, _ := strings.Cut(body, "<"+name+">")
		value, _, _ := strings.Cut(rest, "</"+name+">")
		return value
	})
	var f *fault
	if errors.As(err, &f) {
		return 500, soapFault(strconv.Itoa(f.code), f.description)
	}
	return 200, soapReply(`<u:` + action + `Response xmlns:u="` + typ + `">` + results + `</u:` + action + `Response>`)
}

// act does what an action says. The lock is held.
func (r *router) act(action string, arg func(name string) string) (results string, err error) {
	number := func(name string) uint16 {
		n, _ := strconv.ParseUint(arg(name), 10, 16)
		return uint16(n)
	}
	external := number("NewExternalPort")
	to := netip.AddrPortFrom(self, number("NewInternalPort"))
	has := r.mappings[external]
	switch action {
	case "GetExternalIPAddress":
		return "<NewExternalIPAddress>" + r.external.String() + "</NewExternalIPAddress>", nil
	case "AddPortMapping":
		if r.permanent && arg("NewLeaseDuration") != "0" {
			return "", &fault{faultPermanentOnly, "OnlyPermanentLeasesSupported"}
		}
		if has.IsValid() && (has != to || r.jealous) {
			return "", &fault{faultConflict, "ConflictInMappingEntry"}
		}
		r.mappings[external] = to
		return "", nil
	case "AddAnyPortMapping":
		if r.upnp < 2 {
			return "", &fault{401, "Invalid Action"}
		}
		return fmt.Sprintf("<NewReservedPort>%d</NewReservedPort>", r.change(to, external, true)), nil
	case "GetSpecificPortMappingEntry":
		if !has.IsValid() {
			return "", &fault{714, "NoSuchEntryInArray"}
		}
		return fmt.Sprintf("<NewInternalClient>%v</NewInternalClient><NewInternalPort>%d</NewInternalPort>", has.Addr(), has.Port()), nil
	case "DeletePortMapping":
		delete(r.mappings, external)
		return "", nil
	}
	return "", &fault{401, "Invalid Action"}
}

func (r *router) dial(_ context.Context, network, addr string) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dialed = append(r.dialed, network+" "+addr)
	if r.upnp == 0 || r.silent {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	go r.serve(there)
	return here, nil
}

func (r *router) listen(_ context.Context, network, addr string) (net.PacketConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want, err := netip.ParseAddrPort(addr)
	if err != nil || network != "udp4" || r.listenFailed != nil {
		return nil, errors.Join(errors.New("cannot listen"), err, r.listenFailed)
	}
	r.nextPort++
	s := &socket{
		router: r,
		addr:   netip.AddrPortFrom(want.Addr(), r.nextPort),
		in:     make(chan datagram, 64),
		closed: make(chan struct{}),
	}
	r.sockets[s.addr] = s
	return s, nil
}

type datagram struct {
	from netip.AddrPort
	b    []byte
}

// socket is one of ours, in the router's network.
type socket struct {
	net.PacketConn // nil: for the methods that are not called
	router         *router
	addr           netip.AddrPort
	in             chan datagram
	closed         chan struct{}
	close          sync.Once
	deadline       time.Time // of the reader
}

func (s *socket) fails() (yes bool) {
	s.router.set(func(r *router) {
		if yes = r.failures > 0; yes {
			r.failures--
		}
	})
	return yes
}

func (s *socket) SetReadDeadline(t time.Time) error { s.deadline = t; return nil }

func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	if s.fails() {
		return 0, nil, errors.New("message too long")
	}
	timer := time.NewTimer(time.Until(s.deadline))
	defer timer.Stop()
	select {
	case d := <-s.in:
		return copy(b, d.b), net.UDPAddrFromAddrPort(d.from), nil
	case <-timer.C:
		return 0, nil, os.ErrDeadlineExceeded
	case <-s.closed:
		return 0, nil, net.ErrClosed
	}
}

func (s *socket) WriteTo(b []byte, addr net.Addr) (int, error) {
	r, to := s.router, addr.(*net.UDPAddr).AddrPort()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silent {
		return len(b), nil
	}
	from := to
	if !from.Addr().Is4() || from.Addr().IsMulticast() {
		from = netip.AddrPortFrom(gate, to.Port())
	}
	for _, answer := range r.answer(s.addr, to, slices.Clone(b)) {
		if r.reply != nil {
			from, answer = r.reply(from, answer)
		}
		delay := r.delay
		if answer[0] != pcpVersion {
			delay += time.Microsecond // so that PCP is the first
		}
		time.AfterFunc(delay, func() { s.in <- datagram{from, answer} })
	}
	return len(b), nil
}

func (s *socket) Close() error {
	s.close.Do(func() {
		close(s.closed)
		s.router.set(func(r *router) { delete(r.sockets, s.addr) })
	})
	return nil
}

// client returns a Client behind the router.
func (r *router) client(t *testing.T) *Client {
	c := New(Config{ListenPacket: r.listen, DialContext: r.dial})
	t.Cleanup(func() { c.Close() })
	return c
}
