package interop

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"tailscale.com/cmd/tailscale/cli/jsonoutput"
	"tailscale.com/ipn/ipnstate"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp"
)

// adminTailnet is one of the NAT laboratory whose administrator is the test.
type adminTailnet struct {
	*coord.Server
	url, trust string
}

// newAdminTailnet starts a coordinator with a certificate, without which
// Tailscale's clients do not come back to public addresses.
func (n *labInternet) newAdminTailnet(t *testing.T) *adminTailnet {
	t.Helper()
	server, err := coord.New(coord.Config{Domain: labSuffix, DERPMap: n.relays, Logger: newLog(t, "coord").slog()})
	check(t, "the coordinator is made", err)
	certFile, keyFile, _ := writeCertificate(t, t.TempDir(), coordIP4)
	cert, err := derp.LoadCertFiles(certFile, keyFile, nil)
	check(t, "the certificate is read", err)
	web := &http.Server{Handler: server, ErrorLog: log.New(newLog(t, "coord's TLS"), "", 0)}
	ln := n.listen(t, net.JoinHostPort(coordIP4, "0"))
	go web.Serve(tls.NewListener(ln, &tls.Config{GetCertificate: cert.GetCertificate}))
	t.Cleanup(func() {
		check(t, "the coordinator closes", server.Close())
		web.Close()
	})
	return &adminTailnet{server, "https://" + ln.Addr().String(), "SSL_CERT_FILE=" + certFile}
}

const labSuffix = "lab.test"

// node waits until the coordinator knows a node that is as it should be.
func (n *adminTailnet) node(t *testing.T, sentence, host string, is func(coord.Node) bool) (node coord.Node) {
	t.Helper()
	eventually(t, sentence, func(context.Context) error {
		i := slices.IndexFunc(n.Nodes(), func(n coord.Node) bool { return shortName(n.Name) == host })
		if i < 0 {
			return fmt.Errorf("there is no %s", host)
		}
		if node = n.Nodes()[i]; !is(node) {
			return fmt.Errorf("it is %+v", node)
		}
		return nil
	})
	return node
}

func anyNode(coord.Node) bool { return true }

// login brings a daemon up as a person does who has no key, and has the
// administrator approve that.
func (n *adminTailnet) login(t *testing.T, d *tailscaled, args ...string) {
	t.Helper()
	args = append([]string{"--socket", d.socket, "up", "--login-server", n.url, "--hostname", d.name}, args...)
	up := startProcessBy(t, d.host.start, "tailscale up of "+d.name, d.env, d.command, args...)
	page := up.logged(t, `(https://\S+/login/\S+)`)
	check(t, "the administrator approves", n.Approve(t.Context(), page, coord.ApproveOptions{}))
	check(t, "tailscale up ends", up.end(within(t, 20*time.Second)))
	equal(t, d.name+"'s state", d.status(t).BackendState, "Running")
}

// An administrator decides about real daemons.
func TestTailscaledIsAdministered(t *testing.T) {
	internet := newLabInternet(t)
	n := internet.newAdminTailnet(t)
	hosts := internet.hosts(t, "easy", "open")
	td1, td2 := startTailscaled(t, hosts[0].host, "td1", n.trust), startTailscaled(t, hosts[1].host, "td2", n.trust)

	n.login(t, td1)
	n.login(t, td2)
	td1.says(t, []string{"ping", "td2"}, "pong from td2")

	t.Run("hostname", func(t *testing.T) {
		td1.does(t, "set", "--hostname", "router")
		n.node(t, "the coordinator renames td1", "router", anyNode)
		eventually(t, "td2 knows the new name", func(context.Context) error {
			if status := td2.status(t); peerOf(&status, "router") == nil {
				return fmt.Errorf("it knows %v", status.Peer)
			}
			return nil
		})
	})
	t.Run("routes", func(t *testing.T) { n.routes(t, internet, td1, td2) })
	t.Run("dns", func(t *testing.T) { n.dns(t, internet, td2) })
	t.Run("expiry", func(t *testing.T) {
		before := n.node(t, "td2 is known", "td2", anyNode)
		check(t, "the administrator has td2 expire", n.ExpireNode(t.Context(), before.ID))
		eventually(t, "td2 knows that", func(context.Context) error {
			if state := td2.status(t).BackendState; state != "NeedsLogin" {
				return fmt.Errorf("it is %s", state)
			}
			return nil
		})
		n.login(t, td2, "--force-reauth", "--accept-routes")
		after := n.node(t, "td2 is back", "td2", func(n coord.Node) bool { return n.Online && !n.Expired })
		equal(t, "its number", after.ID, before.ID)
		equal(t, "its address", after.IPv4, before.IPv4)
		equal(t, "whether its key is the old one", after.Key == before.Key, false)
	})
	t.Run("removal", func(t *testing.T) {
		gone := n.node(t, "td2 is known", "td2", anyNode)
		check(t, "the administrator removes td2", n.RemoveNode(t.Context(), gone.ID))
		eventually(t, "td2 knows that", func(context.Context) error {
			if state := td2.status(t).BackendState; state == "Running" {
				return fmt.Errorf("it is %s", state)
			}
			return nil
		})
	})
}

func peerOf(status *ipnstate.Status, host string) *ipnstate.PeerStatus {
	for _, p := range status.Peer {
		if shortName(p.DNSName) == host {
			return p
		}
	}
	return nil
}

// routes has a node behind a NAT be the subnet router of what is there, and an
// exit node.
func (n *adminTailnet) routes(t *testing.T, internet *labInternet, router, user *tailscaled) {
	lan := netip.MustParsePrefix("192.168.1.0/24")
	behind := router.host.listen(t, "192.168.1.2"+linesPort)
	go serveLines(behind)
	router.does(t, "set", "--advertise-routes", lan.String(), "--advertise-exit-node")
	node := n.node(t, "the routes are advertised", "router", func(coord.Node) bool {
		return slices.ContainsFunc(n.Routes(), func(r coord.Route) bool { return r.Prefix == lan && r.Advertised && !r.Approved })
	})
	check(t, "the administrator approves", n.ApproveRoutes(t.Context(), node.ID, lan, netip.MustParsePrefix("0.0.0.0/0")))

	user.does(t, "set", "--accept-routes")
	eventually(t, "the user knows the routes", func(context.Context) error {
		status := user.status(t)
		p := peerOf(&status, "router")
		if p == nil || p.PrimaryRoutes == nil || !slices.Contains(p.PrimaryRoutes.AsSlice(), lan) || !p.ExitNodeOption {
			return fmt.Errorf("it knows %+v", p)
		}
		return nil
	})
	user.nc(t, "192.168.1.2", "7")
	user.says(t, []string{"exit-node", "list"}, "router."+labSuffix)
	user.does(t, "set", "--exit-node", "router")
	equal(t, "who comes out at the exit node", internet.whoComes(t, user), "44.0.1.2")
	user.does(t, "set", "--exit-node=")
	equal(t, "who comes without one", internet.whoComes(t, user), "44.1.2.2")
}

// whoComes has a node connect to a server in the internet, which says from
// where.
func (n *labInternet) whoComes(t *testing.T, d *tailscaled) string {
	t.Helper()
	ln := n.listen(t, net.JoinHostPort(coordIP4, "0"))
	from := make(chan string, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		from <- host
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	nc, _, _ := d.startNC(t, coordIP4, port)
	check(t, "nc ends", nc.Wait())
	return <-from
}

// dns has nodes resolve names that are no node's: records of the administrator's,
// and a domain with a DNS server of its own.
func (n *adminTailnet) dns(t *testing.T, internet *labInternet, d *tailscaled) {
	server := internet.serveDNS(t, netip.MustParseAddr("10.1.2.3"))
	check(t, "the administrator sets the DNS", n.SetDNS(t.Context(), &coord.DNS{
		Records: []coord.Record{{Name: "db." + labSuffix, Addr: netip.MustParseAddr("100.64.7.7")}},
		Split:   map[string][]string{"corp.test": {server}},
	}))
	eventually(t, "the node knows it", func(context.Context) error {
		status := answers[jsonoutput.DNSStatusResult](t, d, "dns", "status", "--json")
		if servers := status.SplitDNSRoutes["corp.test"]; len(servers) != 1 || servers[0].Addr != server || len(status.ExtraRecords) != 1 {
			return fmt.Errorf("it knows %+v", status)
		}
		return nil
	})
	for name, want := range map[string]string{"db." + labSuffix: "100.64.7.7", "www.corp.test": "10.1.2.3"} {
		answer := answers[jsonoutput.DNSQueryResult](t, d, "dns", "query", "--json", name)
		if len(answer.Answers) != 1 || answer.Answers[0].Body != want {
			t.Errorf("%s is resolved to %+v", name, answer)
		}
	}
}

// serveDNS starts a DNS server that gives every name the same address.
func (n *labInternet) serveDNS(t *testing.T, addr netip.Addr) string {
	t.Helper()
	var pc net.PacketConn
	var err error
	n.run(func() { pc, err = net.ListenPacket("udp", net.JoinHostPort(coordIP4, "53")) })
	check(t, "a socket for DNS is open", err)
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 5},
				Body:   &dnsmessage.AResource{A: addr.As4()},
			}}
			if answer, err := m.Pack(); err == nil {
				pc.WriteTo(answer, from)
			}
		}
	}()
	return coordIP4
}
