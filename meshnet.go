// Package meshnet is a node of a tailnet inside a Go program.
//
// A [Server] joins a mesh network run by Headscale, by Tailscale, or by
// meshnet's own coordinator (package coord), and then listens and dials on it
// with ordinary [net.Listener] and [net.Conn] values. WireGuard, a TCP/IP stack
// and the relay client all run inside the process: there is no daemon, no
// network device, and no need for root.
//
//	srv := &meshnet.Server{
//		Hostname:   "hello",
//		ControlURL: "https://mesh.example.com",
//		AuthKey:    authKey,
//		Dir:        stateDir,
//	}
//	defer srv.Close()
//	ln, err := srv.Listen("tcp", ":80")
//	if err != nil {
//		return err
//	}
//	return http.Serve(ln, handler)
//
// The library reads no environment variable, writes no log unless it is given
// a [slog.Logger], sends nothing to anybody but the coordinator, the relays and
// the peers, and keeps no state outside the Server: any number of them live
// side by side in one process.
//
// The protocols on the wire are Tailscale's.
package meshnet

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"golang.zx2c4.com/wireguard/tun"
)

// A Server is one node of a mesh. Its exported fields are read at the first
// call of a method and must not change after it. A Server must not be copied
// after that either.
type Server struct {
	// Hostname is the name to ask for in the mesh. The coordinator makes it
	// unique. Empty means the name of the program.
	Hostname string

	// ControlURL is where the coordinator is: https://host, or http://host for
	// one machine and for tests. Required, unless there is a Pair.
	ControlURL string

	// Pair joins this Server to one other, without a coordinator: see [Pair].
	// What is a coordinator's business has no meaning then, and nothing is kept
	// in Dir or Store.
	Pair *Pair

	// ControlKey pins the coordinator: its public key, "mkey:" and 64 hex
	// digits. The node then talks to nobody else, and waits for it. When it is
	// empty the key is asked of ControlURL: over https at every start, trusted
	// as far as its certificate is; over http remembered in the Store the first
	// time, and from then on another key is [ErrControlKeyChanged].
	ControlKey string

	// AuthKey admits the node without a person. A coordinator uses it up when
	// it does not know the node yet, or no longer; the same key may stand here
	// in later runs. With another key than the last one the node asks for
	// admission anew: it gets the owner and tags that the key gives, and keeps
	// its name and addresses. Up fails when that is refused.
	AuthKey string

	// Ephemeral asks the coordinator to forget the node when it has gone; Close
	// then logs out. (With Headscale, the property is the auth key's.)
	Ephemeral bool

	// Dir is the directory for the node's keys, made with mode 0700 when it is
	// missing. It belongs to this Server alone. Not used when Store is set.
	Dir string

	// Store keeps the node's keys between runs, and the last network map, by
	// which a node that is not ephemeral goes at its next start until the
	// coordinator answers: for up to three days after it was last heard. Nil
	// means files in Dir. An ephemeral node without both keeps its keys in
	// memory.
	Store Store

	// Port is the UDP port for direct connections, 0 for any. When it is taken,
	// so is any.
	Port uint16

	// NoPortProbing leaves it to the relay to reach a meshnet node that is
	// behind a NAT which gives every destination another port, from behind a NAT
	// that lets in only who was sent to, and the other way round. Otherwise, when
	// the usual ways to a direct path have failed, both nodes look for one by
	// pings to many ports: less than 200 small packets a second, for 20 seconds,
	// from up to 256 sockets.
	NoPortProbing bool

	// PostQuantum agrees a WireGuard preshared key with every peer whose Server
	// has it set, too, by ML-KEM-768 (FIPS 203). What these two send each other
	// then stays secret even if it is recorded now, and Curve25519 is broken one
	// day. Each session, of two minutes, has a key of its own. The first packet
	// to a peer waits for the agreement, as long as it takes through the relay
	// and back; a peer that is no meshnet node does not answer, and it waits a
	// second for such a one, once in ten minutes. Once a peer has agreed, there
	// is no session with it without, as long as its process lives. Status tells
	// with whom there is one.
	//
	// The agreement is authenticated by the disco keys, which the coordinator
	// tells: it adds to the secrecy of sessions, not to the proof of who a peer
	// is.
	PostQuantum bool

	// AdvertiseTags are the tags that the node asks for, such as "tag:web".
	// What it gets is the coordinator's decision. With other tags than in the
	// last run, a node that has an AuthKey asks for admission anew. (Headscale takes tags only
	// from the auth key, and refuses a node that sends both.)
	AdvertiseTags []string

	// HostFallback lets Dial and the Resolver go to the host for what is not in
	// the mesh: names that the mesh does not know are looked up as the host does,
	// and addresses that no peer has or leads to are dialled by Underlay, or the
	// host's network. Addresses from the ranges of tailnets stay out of that. It
	// is off by default: a name that the mesh has lost would be anybody's.
	HostFallback bool

	// AcceptRoutes sends to subnet routers what is meant for addresses behind
	// them, so that [Server.Dial] reaches those; the coordinator says who is
	// router for what. Without it a peer is reached at its own addresses alone.
	AcceptRoutes bool

	// ExitNode is the name or address of the peer through which Dial reaches the
	// Internet: every address that nothing else leads to. While it is no peer, or
	// offers no such thing, those addresses are unreachable. What the host or
	// other programs send is not concerned.
	ExitNode string

	// AdvertiseRoutes offers the way to addresses behind this node, such as
	// those of the network that its host is in. Peers use it when the
	// coordinator has approved it and they accept routes, and the mesh's policy
	// says who may connect to what there. What they send is the Router's, or
	// that of the fallback handlers.
	AdvertiseRoutes []netip.Prefix

	// AdvertiseExitNode offers the way to the Internet in the same manner. The
	// host itself, its own networks and private addresses are not part of it:
	// they take AdvertiseRoutes.
	AdvertiseExitNode bool

	// Router takes what peers send through this node to where it goes. Nil
	// leaves it to the fallback handlers, and what these do not want is refused.
	Router *Router

	// Tun puts the mesh on a network interface of the host, so that every program
	// there uses it; tun.CreateTUN of golang.zx2c4.com/wireguard/tun makes one,
	// which takes root. The caller gives it the addresses of [Server.IPs], an MTU
	// of 1280, and routes: see examples/tun. The Server owns the device once it is
	// started, and closes it. What the mesh's policy does not allow never gets to
	// the host.
	//
	// There is no TCP/IP stack in the process then: [Server.Dial],
	// [Server.Listen] and [Server.ListenPacket] go through the host's, by sockets
	// bound to the device, which only Linux has; elsewhere they are an error. To
	// dial itself the node needs package net. Connections to ports where nobody
	// listens, and to AdvertiseRoutes, are the host's too: fallback handlers are
	// not asked, and a Router is an error. [Server.Shutdown] waits until
	// connections have been closed; what the kernel has not delivered by then is
	// lost.
	//
	// Routes into the device that cover addresses of the network beneath the mesh,
	// such as a default route for ExitNode, would lead the node's own packets back
	// into it, unless Underlay has sockets that keep clear of them (on Linux by
	// SO_MARK or SO_BINDTODEVICE).
	Tun tun.Device

	// Certificates gives [Server.ListenTLS] its certificates, in place of the
	// mesh: the GetCertificate of [derp.CertFiles], which reads files that somebody
	// else renews, of an autocert.Manager, or the program's own.
	//
	// [derp.CertFiles]: https://pkg.go.dev/github.com/meshnet-go/meshnet/derp#CertFiles
	Certificates func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// ACMEDirectory is the URL of the authority that ListenTLS asks where the
	// coordinator publishes the proofs. Empty is Let's Encrypt, whose terms of
	// service are accepted by it.
	ACMEDirectory string

	// Logger receives the log; nil is silent. Keys are never logged.
	Logger *slog.Logger

	// OnAuthURL is called, in a goroutine of its own, with the address of a
	// page where a person must let the node in. While it is set [Server.Up]
	// waits for that to happen; when it is nil Up returns a [*NeedsLoginError].
	OnAuthURL func(url string)

	// AllowUnsignedPeers accepts a mesh that is under a tailnet lock. meshnet
	// cannot verify the lock's signatures, so that the coordinator alone then
	// says who is a peer. Without it Up fails with [ErrTailnetLock].
	AllowUnsignedPeers bool

	// Underlay is the network beneath the mesh; the zero value is the host's.
	Underlay Underlay

	mu       sync.Mutex
	node     *node     // nil until started
	loopback *loopback // nil until asked for
	closed   bool

	fallbacks fallbacks
}

// Start begins to bring the node up and returns without waiting for it. It is
// an error when the configuration is incomplete or the Store cannot be read;
// everything later is reported by [Server.Up]. When the node has been started
// already, Start does nothing.
func (s *Server) Start() error {
	_, err := s.start()
	return err
}

func (s *Server) start() (*node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	if s.node != nil {
		return s.node, nil
	}
	cfg, err := s.config()
	if err != nil {
		return nil, fmt.Errorf("meshnet: %w", err)
	}
	n, err := newNode(cfg)
	if err != nil {
		return nil, fmt.Errorf("meshnet: starting: %w", err)
	}
	s.node = n
	return n, nil
}

// Up starts the node if need be, waits until it is a member of the mesh and
// can be reached through its home relay, and returns its status. A relay that
// cannot be reached delays Up by five seconds and does not make it fail. The same
// is true of a coordinator, when the node has been a member less than three days
// ago: Status.Health then says so, and the State changes to [StateFailed] should
// the coordinator refuse the node later on. Dial waits for neither.
//
// Up returns at once when waiting is of no use: with a [*RefusedError] when the
// coordinator refuses the node, with a [*NeedsLoginError] when a person must
// sign in and OnAuthURL is nil, with [ErrTailnetLock], with
// [ErrControlKeyChanged], with a [*ControlURLError] when ControlURL is wrong or
// the coordinator's certificate is not trusted, or with [net.ErrClosed]. After
// such an error another call of Up tries again. Otherwise it waits for a coordinator that cannot be
// reached and for an admin who must approve the node. When ctx ends
// first, the error wraps ctx's and says what kept the node.
//
// Calling Up on a node that is up does no harm and changes nothing.
func (s *Server) Up(ctx context.Context) (*Status, error) {
	n, err := s.start()
	if err != nil {
		return nil, err
	}
	n.retryLogin()
	if err := n.waitReady(ctx); err != nil {
		return nil, fmt.Errorf("meshnet: joining the mesh: %w", err)
	}
	return n.status(), nil
}

// IPs returns the node's addresses in the mesh, which are invalid until the
// node is up, and after Close.
func (s *Server) IPs() (ip4, ip6 netip.Addr) {
	n := s.running()
	if n == nil {
		return
	}
	return n.view.load().ips()
}

// Status describes the node and its peers at this moment. It never blocks and
// never is nil: before the start and after Close it says so.
func (s *Server) Status() *Status {
	s.mu.Lock()
	n, closed := s.node, s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return &Status{State: StateClosed}
	case n == nil:
		return &Status{State: StateStopped}
	}
	return n.status()
}

// NetworkChanged says that the host's network has changed, such as from one
// wireless network to another. The node notices by itself, on most platforms at
// once and everywhere within ten seconds; a program that is told by its system
// spares connections that wait. It returns at once, and does nothing on a
// Server that is not started.
func (s *Server) NetworkChanged() {
	if n := s.running(); n != nil {
		n.host.look()
		n.magic.NetworkChanged()
	}
}

// running returns the node, or nil before the start.
func (s *Server) running() *node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node
}
