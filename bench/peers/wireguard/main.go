// Wireguard is a node of wireguard-go with its own tun/netstack: an encrypted
// link between two hosts that know each other.
package main

import (
	"bufio"
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/meshnet-go/meshnet/bench/internal/node"
)

func main() { node.Main(newPeer) }

const (
	listenPort = 51820
	overhead   = 80 // of WireGuard over IPv6: what is usually left for it
)

// The addresses in the tunnel.
var (
	clientAddr = netip.MustParseAddr("100.64.9.1")
	serverAddr = netip.MustParseAddr("100.64.9.2")
)

type peer struct {
	node.Config
	own   netip.Addr
	dev   *device.Device
	stack *netstack.Net
}

func newPeer(c node.Config) (node.Peer, error) {
	own, other, otherName := clientAddr, serverAddr, "server"
	if c.Serve {
		own, other, otherName = serverAddr, clientAddr, "client"
	}
	tun, stack, err := netstack.CreateNetTUN([]netip.Addr{own}, nil, c.MTU-overhead)
	if err != nil {
		return nil, err
	}
	dev := device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	err = dev.IpcSet(fmt.Sprintf("private_key=%x\nlisten_port=%d\npublic_key=%x\nendpoint=%s:%d\nallowed_ip=%s/32\n",
		private(c.Hostname).Bytes(), listenPort, private(otherName).PublicKey().Bytes(), c.Other, listenPort, other))
	if err != nil {
		dev.Close()
		return nil, err
	}
	return &peer{c, own, dev, stack}, nil
}

// private is the key of a host, so that both know the keys of both: it is no
// secret.
func private(hostname string) *ecdh.PrivateKey {
	seed := sha256.Sum256([]byte("the bench's " + hostname))
	k, err := ecdh.X25519().NewPrivateKey(seed[:])
	if err != nil {
		panic(err) // all of that size are keys
	}
	return k
}

func (p *peer) Up(context.Context) (netip.Addr, error) { return p.own, p.dev.Up() }

func (p *peer) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return p.stack.DialContext(ctx, "tcp", addr)
}

func (p *peer) Listen(port uint16) (net.Listener, error) {
	return p.stack.ListenTCP(&net.TCPAddr{Port: int(port)})
}

// Traffic reads the device's counters; there is no relay.
func (p *peer) Traffic() (t node.Traffic, err error) {
	text, err := p.dev.IpcGet()
	if err != nil {
		return t, err
	}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		if name != "rx_bytes" && name != "tx_bytes" {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return t, err
		}
		t.Direct += n
	}
	return t, nil
}

func (p *peer) Close() error {
	p.dev.Close()
	return nil
}
