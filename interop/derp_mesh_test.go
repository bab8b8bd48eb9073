package interop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	tstailcfg "tailscale.com/tailcfg"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// derper is Tailscale's program, meshed with a relay of ours.
type derper struct {
	*process
	region *tstailcfg.DERPRegion
}

// startDERPer starts derper with the files in dir, among them the certificate
// that its clients trust.
func startDERPer(t *testing.T, mesh derp.MeshKey, with *relayHost, extra ...string) *derper {
	t.Helper()
	dir := t.TempDir()
	_, _, certName := writeCertificate(t, dir, loopback)
	meshFile := writeFile(t, dir, "mesh.key", []byte(mesh.Secret()+"\n"))
	roots := writeFile(t, dir, "roots.pem", pemOf("CERTIFICATE", with.cert.Certificate[0]))

	addr := freeAddr(t)
	args := append([]string{
		"-a", addr.String(), "-http-port", "-1", "-stun=false", "-hostname", loopback,
		"-certmode", "manual", "-certdir", dir, "-c", filepath.Join(dir, "key.json"), "-mesh-psk-file", meshFile,
		"-mesh-with", fmt.Sprintf("%s:%d", loopback, with.region.Nodes[0].DERPPort),
	}, extra...)
	program, err := toolPath(".", "derper")
	check(t, "derper is built", err)
	p := startProcess(t, "derper", []string{"SSL_CERT_FILE=" + roots, "TS_NO_LOGS_NO_SUPPORT=true"}, program, args...)
	eventually(t, "derper listens", func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
		if err == nil {
			c.Close()
		}
		return err
	})
	return &derper{p, derpRegion(1, addr, -1, certName)}
}

// freeAddr returns an address on which a program can listen, most likely.
func freeAddr(t *testing.T) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	check(t, "there is a free port", err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr)
}

// reach sends packets until they arrive: a relay hears of a client of another
// after a while.
func reach(t *testing.T, from, to member) {
	t.Helper()
	eventually(t, "packets go from one relay to the other", func(context.Context) error {
		check(t, "a packet is sent", from.send(to.public(), []byte("probe")))
		select {
		case event := <-to.events:
			if event.kind == "packet" {
				return nil
			}
			return fmt.Errorf("the relay says: %+v", event)
		default:
			return errors.New("nothing has come yet")
		}
	})
	check(t, "the last packet is sent", from.send(to.public(), []byte("last")))
	for to.await(t, "packet").data != "last" {
	}
}

// Packets go from a client of either relay to one of the other, and both hear
// when the other side leaves.
func TestDERPMeshWithDERPer(t *testing.T) {
	mesh := derp.NewMeshKey()
	ours, host := startDERP(t, derp.ServerConfig{MeshKey: mesh})
	theirs := startDERPer(t, mesh, host)
	go ours.Mesh(t.Context(), derp.DialConfig{Region: convert[derpmap.Region](t, theirs.region)})

	eventually(t, "both relays are linked to each other", func(context.Context) error {
		// Theirs is a client of ours, and ours of theirs.
		if st := ours.Stats(); st.Links != 1 || st.Clients != 1 {
			return fmt.Errorf("figures: %+v", st)
		}
		return nil
	})
	for _, a := range clientKinds {
		for _, b := range clientKinds {
			t.Run(a.name+" on ours and "+b.name+" on derper", func(t *testing.T) {
				here, there := join(t, a.dial, host.region, key.NewNode()), join(t, b.dial, theirs.region, key.NewNode())
				reach(t, here, there)
				reach(t, there, here)
				swapPackets(t, here, there)
				check(t, "here leaves", here.close())
				equal(t, "what there hears", there.await(t, "gone"), relayEvent{kind: "gone", peer: here.public(), why: byte(derp.PeerGoneDisconnected)})
			})
			t.Run(a.name+" on ours hears that "+b.name+" on derper leaves", func(t *testing.T) {
				here, there := join(t, a.dial, host.region, key.NewNode()), join(t, b.dial, theirs.region, key.NewNode())
				reach(t, here, there)
				reach(t, there, here)
				swapPackets(t, here, there)
				check(t, "there leaves", there.close())
				equal(t, "what here hears", here.await(t, "gone"), relayEvent{kind: "gone", peer: there.public(), why: byte(derp.PeerGoneDisconnected)})
			})
		}
	}
}
