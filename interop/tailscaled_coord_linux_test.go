package interop

import (
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A programTailnet is one that meshnet coord serves, at an address of the NAT
// laboratory's internet, with a certificate that its nodes trust.
type programTailnet struct {
	*labInternet
	meshnet string // the program
	dir     string
	url     string
	trust   string // the variable by which programs do
}

func startCoordProgram(t *testing.T, internet *labInternet) *programTailnet {
	t.Helper()
	dir := shortTempDir(t)
	certFile, keyFile, _ := writeCertificate(t, dir, coordIP4)
	n := &programTailnet{
		labInternet: internet,
		meshnet:     filepath.Join(buildProxies(t), "meshnet"),
		dir:         dir,
		trust:       "SSL_CERT_FILE=" + certFile,
	}
	p := startProcessBy(t, internet.start, "meshnet coord", nil, n.meshnet,
		"coord", "-dir", dir, "-listen", net.JoinHostPort(coordIP4, "443"), "-cert", certFile, "-key", keyFile)
	n.url = p.logged(t, `(?m)^(https://\S+)$`)
	return n
}

// admin runs a command that administers the tailnet, and returns what it prints.
func (n *programTailnet) admin(t *testing.T, args ...string) string {
	t.Helper()
	result, err := run(command(within(t, 20*time.Second), nil, n.meshnet, append(args, "-dir", n.dir)...))
	check(t, "meshnet "+strings.Join(args, " ")+" ends", err)
	equal(t, "how it ends: "+result.stderr, result.exit, 0)
	return strings.TrimSpace(result.stdout)
}

func (n *programTailnet) startTailscaled(t *testing.T, on *site, name string) *tailscaled {
	t.Helper()
	return startTailscaled(t, on.host, name, n.trust)
}

// hosts makes hosts of the laboratory, each behind a router of a kind.
func (n *labInternet) hosts(t *testing.T, kinds ...string) (hosts []*site) {
	t.Helper()
	for i, kind := range kinds {
		for _, k := range siteKinds {
			if k.name == kind {
				hosts = append(hosts, newSite(t, n.namespace, k, i+1))
			}
		}
	}
	return hosts
}

// Real daemons on two hosts and a meshnet node on a third, in a mesh that one
// command serves.
func TestTailscaledOnMeshnetCoord(t *testing.T) {
	n := startCoordProgram(t, newLabInternet(t))
	authKey := n.admin(t, "authkey", "-reusable")
	hosts := n.hosts(t, "easy", "open", "easy")
	td1, td2 := n.startTailscaled(t, hosts[0], "td1"), n.startTailscaled(t, hosts[1], "td2")
	for _, d := range []*tailscaled{td1, td2} {
		d.does(t, "up", "--login-server", n.url, "--auth-key", authKey, "--hostname", d.name)
	}
	mesh := startNode(t, hosts[2].host, "mesh1", n.trust)
	var mesh1 Member
	check(t, "mesh1 comes up", mesh.Call("Node.Join", Join{Software: "meshnet", Hostname: "mesh1", ControlURL: n.url, AuthKey: authKey}, &mesh1))
	const suffix = "mesh.internal"

	t.Run("status", func(t *testing.T) {
		td1.says(t, []string{"status"}, "td1", "td2", "mesh1")
		status := td1.status(t)
		equal(t, "its state", status.BackendState, "Running")
		equal(t, "its name", status.Self.DNSName, "td1."+suffix+".")
		equal(t, "what it is worried about", len(status.Health), 0)
		equal(t, "how many peers it has", len(status.Peer), 2)
		for _, p := range status.Peer {
			equal(t, "whether "+p.DNSName+" is online", p.Online, true)
		}
	})
	t.Run("ping", func(t *testing.T) {
		direct := regexp.MustCompile(`pong from mesh1 \(\S+\) via 44\.0\.3\.2:\d+ in`)
		if got := td1.does(t, "ping", "mesh1"); !direct.MatchString(got) {
			t.Errorf("no ping was answered directly: %s", got)
		}
		for _, to := range []string{"mesh1", "td2"} {
			td1.says(t, []string{"ping", "--tsmp", "-c", "3", to}, "via TSMP in")
			td1.says(t, []string{"ping", "--icmp", "-c", "3", to}, "via ICMP in")
			td1.says(t, []string{"ping", to}, "pong from "+to)
		}
	})
	t.Run("netcheck", func(t *testing.T) {
		report := answers[struct {
			UDP, IPv4     bool
			PreferredDERP int
			GlobalV4      string
		}](t, td1, "netcheck", "--format", "json")
		equal(t, "whether there is UDP", report.UDP && report.IPv4, true)
		equal(t, "the home", report.PreferredDERP, 900)
		equal(t, "the address behind the NAT", strings.HasPrefix(report.GlobalV4, "44.0.1.2:"), true)
	})
	t.Run("whois", func(t *testing.T) {
		td1.says(t, []string{"whois", mesh1.IP.String()}, "mesh1."+suffix, "user@"+suffix)
	})
	t.Run("nc", func(t *testing.T) {
		ln := td2.host.listen(t, loopback+linesPort)
		go serveLines(ln)
		td1.nc(t, "mesh1", "7")
		td1.nc(t, "td2", "7")
		var outcome Outcome
		check(t, "mesh1 calls td2", mesh.Call("Node.Call", Call{td2.member(t), 20 * time.Second}, &outcome))
		equal(t, "whether the way is direct", outcome.Path.Direct.IsValid(), true)
	})
	t.Run("dns", func(t *testing.T) {
		td1.says(t, []string{"dns", "status"}, suffix)
		td1.says(t, []string{"dns", "query", "mesh1." + suffix}, "RCodeSuccess", mesh1.IP.String())
		td1.says(t, []string{"dns", "query", "nobody." + suffix}, "RCodeNameError")
	})
	t.Run("down and up", func(t *testing.T) {
		before := td1.member(t)
		td1.does(t, "down")
		equal(t, "its state", td1.status(t).BackendState, "Stopped")
		td1.does(t, "up")
		equal(t, "who it is", td1.member(t), before)
		td1.nc(t, "mesh1", "7")
	})
	t.Run("logout", func(t *testing.T) {
		td2.does(t, "logout")
		equal(t, "its state", td2.status(t).BackendState, "NeedsLogin")
		td2.does(t, "up", "--login-server", n.url, "--auth-key", authKey, "--hostname", "td2")
		td1.says(t, []string{"ping", "td2"}, "pong from td2")
	})
}
