package meshnet

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/meshnet-go/meshnet/key"
)

// config is a Server's fields as they were at the first call, checked and with
// defaults filled in.
type config struct {
	hostname      string
	controlURL    *url.URL
	controlKey    key.MachinePublic // zero: not pinned
	authKey       string
	ephemeral     bool
	pair          *Pair // nil: there is a coordinator
	store         Store
	advertiseTags []string
	routes        routes
	router        *Router
	tun           tun.Device
	fallbacks     *fallbacks
	log           *slog.Logger
	onAuthURL     func(url string)
	allowUnsigned bool
	port          uint16
	noPortProbing bool
	hostFallback  bool
	postQuantum   bool
	listenPacket  func(ctx context.Context, network, addr string) (net.PacketConn, error)
	interfaces    func() ([]netip.Prefix, error)
	gateway       func() (netip.Addr, bool)
	dial          func(ctx context.Context, network, addr string) (net.Conn, error)
	rootCAs       *x509.CertPool
	acmeDirectory string
}

func (s *Server) config() (config, error) {
	cfg := config{
		hostname:      s.Hostname,
		authKey:       strings.TrimSpace(s.AuthKey), // as it comes out of files
		ephemeral:     s.Ephemeral,
		pair:          s.Pair,
		store:         s.Store,
		advertiseTags: slices.Clone(s.AdvertiseTags),
		router:        s.Router,
		tun:           s.Tun,
		fallbacks:     &s.fallbacks,
		log:           s.Logger,
		onAuthURL:     s.OnAuthURL,
		allowUnsigned: s.AllowUnsignedPeers,
		port:          s.Port,
		noPortProbing: s.NoPortProbing,
		hostFallback:  s.HostFallback,
		postQuantum:   s.PostQuantum,
		listenPacket:  s.Underlay.listenPacket(),
		interfaces:    s.Underlay.Interfaces,
		gateway:       s.Underlay.Gateway,
		dial:          s.Underlay.dialContext(),
		rootCAs:       s.Underlay.RootCAs,
		acmeDirectory: s.ACMEDirectory,
	}
	if cfg.hostname == "" {
		cfg.hostname = programName()
	}
	if cfg.log == nil {
		cfg.log = slog.New(slog.DiscardHandler)
	}
	if cfg.tun != nil && cfg.router != nil {
		return config{}, errors.New("Router is for a node without Tun: behind a TUN device the host's kernel is the router")
	}
	if s.Pair != nil {
		return cfg, s.checkPair()
	}
	var err error
	if cfg.controlURL, err = parseControlURL(s.ControlURL); err != nil {
		return config{}, err
	}
	if s.ControlKey != "" {
		if cfg.controlKey, err = key.ParseMachinePublic(s.ControlKey); err != nil {
			return config{}, fmt.Errorf("ControlKey: %w", err)
		}
	}
	if cfg.routes, err = s.routes(); err != nil {
		return config{}, err
	}
	if cfg.store == nil {
		if cfg.store, err = s.defaultStore(); err != nil {
			return config{}, err
		}
	}
	return cfg, nil
}

func parseControlURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, errors.New("ControlURL is empty: set it to your Headscale server, to https://controlplane.tailscale.com, " +
			"or to a coordinator of your own (package coord)")
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("ControlURL: %w", err)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("ControlURL %q is not of the form https://host", text)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("ControlURL %q has more than a scheme and a host", u.Redacted())
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func (s *Server) defaultStore() (Store, error) {
	switch {
	case s.Dir != "":
		return NewFileStore(s.Dir)
	case s.Ephemeral:
		return NewMemoryStore(), nil
	}
	return nil, errors.New("nowhere to keep the node's keys: set Dir or Store, " +
		"or Ephemeral for a node that is a new one in every run")
}

// programName is what tsnet takes as the host name too: that of the program.
func programName() string {
	path, err := os.Executable()
	if err != nil {
		return "meshnet"
	}
	return strings.TrimSuffix(filepath.Base(path), ".exe")
}
