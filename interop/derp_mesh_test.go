package interop

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	tstailcfg "tailscale.com/tailcfg"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// derperVersion is that of tailscale.com in go.mod. derper needs modules that
// nothing else here does, so it is not built as a part of this one.
const derperVersion = "v1.102.5"

// buildDERPer builds Tailscale's derper and returns where it is.
func buildDERPer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	install := exec.Command("go", "install", "tailscale.com/cmd/derper@"+derperVersion)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if output, err := install.CombinedOutput(); err != nil {
		t.Fatalf("derper is not built: %v: %s", err, output)
	}
	return filepath.Join(dir, "derper")
}

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
	cert, certName, err := derp.SelfSigned(loopback)
	check(t, "derper has a certificate", err)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	check(t, "the certificate's key has a form", err)
	write := func(name string, text []byte) string {
		file := filepath.Join(dir, name)
		check(t, name+" is written", os.WriteFile(file, text, 0o600))
		return file
	}
	write(loopback+".crt", pemOf("CERTIFICATE", cert.Certificate[0]))
	write(loopback+".key", pemOf("PRIVATE KEY", key))
	meshFile := write("mesh.key", []byte(mesh.Secret()+"\n"))
	roots := write("roots.pem", pemOf("CERTIFICATE", with.cert.Certificate[0]))

	addr := freeAddr(t)
	args := append([]string{
		"-a", addr.String(), "-http-port", "-1", "-stun=false", "-hostname", loopback,
		"-certmode", "manual", "-certdir", dir, "-c", filepath.Join(dir, "key.json"), "-mesh-psk-file", meshFile,
		"-mesh-with", fmt.Sprintf("%s:%d", loopback, with.region.Nodes[0].DERPPort),
	}, extra...)
	p := startProcess(t, "derper", []string{"SSL_CERT_FILE=" + roots, "TS_NO_LOGS_NO_SUPPORT=true"}, buildDERPer(t), args...)
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

func pemOf(what string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: what, Bytes: der})
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
