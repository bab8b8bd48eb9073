package meshtest

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/simnet"
)

// spareSTUN is the region of a second STUN server, which has no relay: only by
// the answers of two servers a node can tell that its NAT is a hard one.
const spareSTUN = 999

// A region is a part of the world with a relay in it.
type region struct {
	id     int
	code   string
	router *simnet.Router // above everybody in the region
	relay  *relay
}

// A relay is the machine on which one runs, with STUN beside it, or not.
type relay struct {
	host     *simnet.Host
	name     string
	cert     tls.Certificate
	certName string // what pins cert

	// Guarded by Mesh.mu.
	service *service // nil: stopped
	stun    *stunServer
}

// makeRegions makes the world and starts its relays. One region needs no
// border.
func (m *Mesh) makeRegions(codes []string, distance time.Duration) {
	m.t.Helper()
	if len(codes) == 0 || len(codes) > maxRegions {
		m.t.Fatalf("meshtest: %d regions are wanted, of 1 to %d that there can be", len(codes), maxRegions)
	}
	for i, code := range codes {
		r := &region{id: i + 1, code: code, router: m.internet.Internet()}
		if len(codes) > 1 {
			r.router = m.internet.Router(simnet.RouterConfig{Inside: regionNetworks(r.id)})
			r.router.Link().Set(simnet.Quality{Latency: distance / 2})
		}
		r.relay = m.newRelay(r)
		m.regions = append(m.regions, r)
	}
	m.StartRelays()
	m.spare = m.internet.Host()
	m.spareSTUN = m.serveSTUN(m.spare)
}

func (m *Mesh) newRelay(in *region) *relay {
	m.t.Helper()
	r := &relay{host: in.router.Host(), name: in.code + ".relay.test"}
	var err error
	if r.cert, r.certName, err = derp.SelfSigned(r.name); err != nil {
		m.t.Fatalf("meshtest: making a relay: %v", err)
	}
	return r
}

// derpMap tells nodes where the relays are.
func (m *Mesh) derpMap() *derpmap.Map {
	all := &derpmap.Map{OmitDefaultRegions: true, Regions: make(map[int]*derpmap.Region)}
	add := func(id int, code string, node *derpmap.Node, host *simnet.Host) {
		node.Name, node.RegionID = fmt.Sprint(id, "a"), id
		for _, addr := range host.Addrs() {
			if addr.Is4() {
				node.IPv4 = addr.String()
			} else {
				node.IPv6 = addr.String()
			}
		}
		all.Regions[id] = &derpmap.Region{RegionID: id, RegionCode: code, RegionName: code, Nodes: []*derpmap.Node{node}}
	}
	for _, r := range m.regions {
		add(r.id, r.code, &derpmap.Node{HostName: r.relay.name, CertName: r.relay.certName}, r.relay.host)
	}
	add(spareSTUN, "stun", &derpmap.Node{HostName: "stun.test", STUNOnly: true}, m.spare)
	return all
}

// StopRelays takes the relays of regions down, and the STUN servers beside
// them: all when no codes are given. Nodes whose home it was notice at once and
// try to reach it again, or choose another in a while.
func (m *Mesh) StopRelays(codes ...string) {
	m.t.Helper()
	for _, r := range m.regionsOf(codes) {
		m.mu.Lock()
		service, stun := r.relay.service, r.relay.stun
		r.relay.service, r.relay.stun = nil, nil
		m.mu.Unlock()
		service.stop()
		stun.stop()
	}
}

// StartRelays starts relays again after StopRelays.
func (m *Mesh) StartRelays(codes ...string) {
	m.t.Helper()
	for _, r := range m.regionsOf(codes) {
		m.startRelay(r)
	}
}

func (m *Mesh) startRelay(in *region) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	r := in.relay
	if r.service != nil {
		return
	}
	ln, err := r.host.Listen(m.ctx, "tcp", ":443")
	if err != nil {
		m.t.Fatalf("meshtest: starting the relay %s: %v", r.name, err)
	}
	server := derp.NewServer(derp.ServerConfig{Logger: m.log.With("at", r.name)})
	certs := server.TLSConfig(&tls.Config{Certificates: []tls.Certificate{r.cert}})
	r.service = serve(tls.NewListener(ln, certs), server)
	r.stun = m.serveSTUN(r.host)
}

// regionsOf returns the regions of some codes, or all.
func (m *Mesh) regionsOf(codes []string) (some []*region) {
	m.t.Helper()
	if len(codes) == 0 {
		return m.regions
	}
	for _, code := range codes {
		some = append(some, m.region(code))
	}
	return some
}

// region returns the region of a code.
func (m *Mesh) region(code string) *region {
	m.t.Helper()
	i := slices.IndexFunc(m.regions, func(r *region) bool { return r.code == code })
	if i < 0 {
		m.t.Fatalf("meshtest: there is no region %q; see Regions", code)
	}
	return m.regions[i]
}

// A stunServer tells nodes their public addresses.
type stunServer struct {
	socket  net.PacketConn
	serving sync.WaitGroup
}

func (m *Mesh) serveSTUN(host *simnet.Host) *stunServer {
	m.t.Helper()
	socket, err := host.ListenPacket(m.ctx, "udp", ":3478")
	if err != nil {
		m.t.Fatalf("meshtest: starting STUN: %v", err)
	}
	s := &stunServer{socket: socket}
	s.serving.Go(func() { derp.ServeSTUN(m.ctx, socket) })
	return s
}

// stop ends the server and waits for that. A nil one is stopped already.
func (s *stunServer) stop() {
	if s == nil {
		return
	}
	s.socket.Close()
	s.serving.Wait()
}
