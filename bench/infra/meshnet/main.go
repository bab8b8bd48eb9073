// Meshnet is the infrastructure of meshnet: its coordinator and its relay, with
// STUN beside it.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"

	"github.com/meshnet-go/meshnet/bench/internal/wire"
	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
)

func main() { wire.Main(start) }

func start(c wire.Infra) (any, wire.Verbs, func(), error) {
	if c.Peers > 0 {
		return nil, nil, nil, errors.New("this coordinator has only members that have joined")
	}
	var mesh wire.Mesh
	verbs := wire.Verbs{}
	region := new(derpmap.Region)
	if len(c.Relay) > 0 {
		if err := json.Unmarshal(c.Relay, region); err != nil {
			return nil, nil, nil, err
		}
	} else {
		relay := derp.NewServer(derp.ServerConfig{})
		var err error
		if region, err = serveRelay(relay, c.Addr); err != nil {
			return nil, nil, nil, err
		}
		verbs["relayed"] = func(json.RawMessage) (any, error) {
			s := relay.Stats()
			return wire.Relayed{In: s.PacketsIn, Out: s.PacketsOut, Dropped: s.Overflowed + s.Unreachable}, nil
		}
	}
	var err error
	if mesh.Relay, err = json.Marshal(region); err != nil {
		return nil, nil, nil, err
	}
	if !c.RelayOnly {
		if err := serveControl(c, region, &mesh); err != nil {
			return nil, nil, nil, err
		}
	}
	return mesh, verbs, func() {}, nil
}

func serveControl(c wire.Infra, region *derpmap.Region, mesh *wire.Mesh) error {
	control, err := coord.New(coord.Config{DERPMap: &derpmap.Map{
		OmitDefaultRegions: true,
		Regions:            map[int]*derpmap.Region{region.RegionID: region},
	}})
	if err != nil {
		return err
	}
	if mesh.AuthKey, err = control.CreateAuthKey(context.Background(), coord.AuthKeyOptions{Reusable: true}); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", netip.AddrPortFrom(c.Addr, 0).String())
	if err != nil {
		return err
	}
	go http.Serve(ln, control)
	mesh.ControlURL = "http://" + ln.Addr().String()
	return nil
}

func serveRelay(relay *derp.Server, addr netip.Addr) (*derpmap.Region, error) {
	cert, certName, err := derp.SelfSigned(addr.String())
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		return nil, err
	}
	go http.Serve(tls.NewListener(ln, relay.TLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}})), relay)
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: addr.AsSlice()})
	if err != nil {
		return nil, err
	}
	go derp.ServeSTUN(context.Background(), pc)
	return &derpmap.Region{RegionID: 1, RegionCode: "bench", RegionName: "The bench", Nodes: []*derpmap.Node{{
		Name: "1a", RegionID: 1, HostName: addr.String(), IPv4: addr.String(), IPv6: "none", CertName: certName,
		DERPPort: ln.Addr().(*net.TCPAddr).Port, STUNPort: pc.LocalAddr().(*net.UDPAddr).Port,
	}}}, nil
}
