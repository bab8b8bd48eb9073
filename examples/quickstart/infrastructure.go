package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// An infrastructure is what a mesh needs besides its nodes.
type infrastructure struct {
	controlURL string
	controlKey string
	authKey    string
	relayAddr  net.Addr
	closers    []func() error // in reverse
}

func (infra *infrastructure) close() error {
	var errs []error
	for i := len(infra.closers) - 1; i >= 0; i-- {
		errs = append(errs, infra.closers[i]())
	}
	return errors.Join(errs...)
}

func startInfrastructure(ctx context.Context) (_ *infrastructure, err error) {
	infra := new(infrastructure)
	defer func() {
		if err != nil {
			infra.close()
		}
	}()
	relay, err := infra.startRelay(ctx)
	if err != nil {
		return nil, err
	}
	return infra, infra.startCoordinator(ctx, &derpmap.Map{
		Regions: map[int]*derpmap.Region{
			relay.RegionID: {RegionID: relay.RegionID, RegionCode: "local", RegionName: "This machine", Nodes: []*derpmap.Node{relay}},
		},
		OmitDefaultRegions: true,
	})
}

// startRelay serves a relay over TLS, and STUN beside it.
func (infra *infrastructure) startRelay(ctx context.Context) (*derpmap.Node, error) {
	cert, certName, err := derp.SelfSigned("127.0.0.1")
	if err != nil {
		return nil, err
	}
	ln, err := tls.Listen("tcp", anyPort, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return nil, err
	}
	stun, err := net.ListenPacket("udp", anyPort)
	if err != nil {
		ln.Close()
		return nil, err
	}
	relay := derp.NewServer(derp.ServerConfig{})
	infra.relayAddr = ln.Addr()
	infra.serve(ln, relay)
	infra.closers = append(infra.closers, relay.Close, stun.Close)
	go derp.ServeSTUN(ctx, stun)
	return &derpmap.Node{
		Name:     "local",
		RegionID: 900, // 900 to 999 are for relays of one's own
		HostName: "127.0.0.1",
		CertName: certName,
		DERPPort: port(ln.Addr()),
		STUNPort: port(stun.LocalAddr()),
	}, nil
}

func (infra *infrastructure) startCoordinator(ctx context.Context, relays *derpmap.Map) error {
	coordinator, err := coord.New(coord.Config{DERPMap: relays})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", anyPort)
	if err != nil {
		coordinator.Close()
		return err
	}
	infra.serve(ln, coordinator)
	infra.closers = append(infra.closers, coordinator.Close)
	infra.controlURL = "http://" + ln.Addr().String()
	infra.controlKey = coordinator.PublicKey().String()
	infra.authKey, err = coordinator.CreateAuthKey(ctx, coord.AuthKeyOptions{Reusable: true, Ephemeral: true})
	return err
}

func (infra *infrastructure) serve(ln net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(ln)
	infra.closers = append(infra.closers, server.Close)
}
