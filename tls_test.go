package meshnet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/internal/cert"
	"github.com/meshnet-go/meshnet/internal/netmap"
)

// shop has s serve who calls it over TLS, on port 443.
func shop(t *testing.T, s *Server) {
	t.Helper()
	ln, err := s.ListenTLS("tcp", ":443")
	if err != nil {
		t.Fatal(err)
	}
	go quietly(http.HandlerFunc(greet)).Serve(ln)
}

func quietly(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ConnContext: ConnContext, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
}

// greet answers with the protocol and the name of who asks.
func greet(w http.ResponseWriter, r *http.Request) {
	who, err := PeerOfRequest(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	io.WriteString(w, r.Proto+" "+who.Node.Name)
}

// fetch returns the page at url.
func fetch(t *testing.T, client *http.Client, url string) (string, error) {
	t.Helper()
	ctx := testCtx(t)
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	defer client.CloseIdleConnections()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func wantPage(t *testing.T, client *http.Client, url, want string) {
	t.Helper()
	if got, err := fetch(t, client, url); err != nil || got != want {
		t.Errorf("%s is %q, %v; want %q", url, got, err, want)
	}
}

func TestListenTLSByTheMeshsAuthority(t *testing.T) {
	m := newMesh(t, nil)
	web := m.server("web")
	if got := web.CertDomains(); got != nil {
		t.Errorf("before it is up it has names: %v", got)
	}
	shop(t, web) // before it is up
	m.bringUp(web)
	visitor := m.up("visitor")
	if got := web.CertDomains(); !slices.Equal(got, []string{"web.mesh.internal"}) {
		t.Errorf("its names are %v", got)
	}
	ip4, ip6 := web.IPs()
	for _, host := range []string{"web", "WEB.mesh.internal", "web.mesh.internal.", ip4.String(), "[" + ip6.String() + "]"} {
		wantPage(t, visitor.HTTPClient(), "https://"+host+"/", "HTTP/1.1 visitor.mesh.internal")
	}

	ln, err := web.Listen("tcp", ":8443")
	if err != nil {
		t.Fatal(err)
	}
	two := quietly(http.HandlerFunc(greet))
	two.TLSConfig = &tls.Config{GetCertificate: web.GetCertificate}
	go two.ServeTLS(ln, "", "")
	wantPage(t, visitor.HTTPClient(), "https://web:8443/", "HTTP/2.0 visitor.mesh.internal")

	strict := visitor.HTTPClient()
	strict.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
	if _, err := fetch(t, strict, "https://web/"); !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("a client that trusts nobody: %v", err)
	}
	roots, err := visitor.RootCAs(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := visitor.Dial(testCtx(t), "tcp", "web:443")
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "visitor.mesh.internal"})
	if err := secure.Handshake(); !errors.As(err, new(x509.HostnameError)) {
		t.Errorf("a node passes for another: %v", err)
	}
	conn.Close()
}

// The mesh's authority is trusted for nodes, and for nobody else.
func TestAuthorityIsTrustedForNodesAlone(t *testing.T) {
	m := newMesh(t, nil)
	n := m.up("node").running()
	for _, row := range []struct {
		names []string
		ip    string
		fails bool
	}{
		{[]string{"node.mesh.internal"}, "100.64.0.1", false},
		{[]string{"node.mesh.internal", "bank.example.com"}, "100.64.0.1", true},
		{[]string{"gone.mesh.internal"}, "100.64.0.1", true},
		{[]string{"*.mesh.internal"}, "100.64.0.1", true},
		{[]string{"node"}, "100.64.0.1", true},
		{nil, "192.0.2.1", true},
	} {
		leaf := &x509.Certificate{DNSNames: row.names, IPAddresses: []net.IP{net.ParseIP(row.ip)}}
		if err := n.isPeersOwn(leaf); (err != nil) != row.fails {
			t.Errorf("%v and %s: %v", row.names, row.ip, err)
		}
	}
}

func TestListenTLSWithCertificatesOfOnesOwn(t *testing.T) {
	m := newMesh(t, nil)
	own, _, err := derp.SelfSigned("web.mesh.internal")
	if err != nil {
		t.Fatal(err)
	}
	web := m.server("web")
	var asked string
	web.Certificates = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked = hello.ServerName
		return &own, nil
	}
	shop(t, web)
	m.bringUp(web)
	visitor := m.up("visitor")
	if _, err := fetch(t, visitor.HTTPClient(), "https://web/"); !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	leaf, err := x509.ParseCertificate(own.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	client := visitor.HTTPClient()
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
	wantPage(t, client, "https://web/", "HTTP/1.1 visitor.mesh.internal")
	if asked != "web.mesh.internal" {
		t.Errorf("the certificate of %q was asked for", asked)
	}
}

// A certificate is kept: a node that starts while the coordinator is down serves,
// and so does one that has started while it was there.
func TestCertificateOutlivesTheCoordinator(t *testing.T) {
	m := newMesh(t, nil)
	web, visitor := m.server("web"), m.server("visitor")
	shop(t, web)
	m.bringUp(web)
	m.bringUp(visitor)
	wantPage(t, visitor.HTTPClient(), "https://web/", "HTTP/1.1 visitor.mesh.internal")
	web, visitor = m.again(web), m.again(visitor)
	m.control.stop()
	shop(t, web)
	m.bringUp(web)
	m.bringUp(visitor)
	wantPage(t, visitor.HTTPClient(), "https://web/", "HTTP/1.1 visitor.mesh.internal")
	visitor.Close()
	web.Close()
}

// A node that is renamed, or has a damaged certificate, asks for another.
func TestCertificateIsReplaced(t *testing.T) {
	m := newMesh(t, nil)
	web := m.server("web")
	if err := web.Store.Save(storedCertificate, []byte("rubbish")); err != nil {
		t.Fatal(err)
	}
	shop(t, web)
	m.bringUp(web)
	visitor := m.up("visitor")
	wantPage(t, visitor.HTTPClient(), "https://web/", "HTTP/1.1 visitor.mesh.internal")
	if err := m.coord.RenameNode(t.Context(), 1, "shop"); err != nil {
		t.Fatal(err)
	}
	visitor.waitForMap(t, "the other name", func(v *netmap.Map) bool { return v.Names.FullName("shop") != "" })
	keeper := web.running().keeping.keeper.Load()
	if _, err := keeper.held.wait(testCtx(t), func(h heldCert) (bool, error) {
		return h.cert != nil && h.cert.Leaf.DNSNames[0] == "shop.mesh.internal", h.err
	}); err != nil {
		t.Fatal(err)
	}
	wantPage(t, visitor.HTTPClient(), "https://shop/", "HTTP/1.1 visitor.mesh.internal")
	stored, err := web.Store.Load(storedCertificate)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := cert.Decode(stored); err != nil || c.Leaf.DNSNames[0] != "shop.mesh.internal" {
		t.Errorf("stored is %v, %v", c, err)
	}
}

// waitForMap waits until the node's map is as wanted.
func (s *Server) waitForMap(t *testing.T, what string, want func(*netmap.Map) bool) {
	t.Helper()
	if _, err := s.running().view.wait(testCtx(t), func(v view) (bool, error) { return v.netMap != nil && want(v.netMap), nil }); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// A coordinator of another make has no certificates: that is said at once, or to
// those who connect, and by Status.
func TestNoCertificates(t *testing.T) {
	s := newScripted(t)
	late := s.server("late")
	ln, err := late.ListenTLS("tcp", ":443")
	if err != nil {
		t.Fatal(err)
	}
	up, err := late.Up(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.ListenTLS("tcp", ":8443"); !errors.Is(err, ErrNoCertificates) {
		t.Errorf("ListenTLS when it is up: %v", err)
	}
	if late.CertDomains() != nil {
		t.Errorf("it has names: %v", late.CertDomains())
	}
	done := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			defer conn.Close()
			err = conn.(*tls.Conn).HandshakeContext(testCtx(t))
		}
		done <- err
	}()
	conn, err := late.Dial(testCtx(t), "tcp", net.JoinHostPort(up.Self.Addresses[0].String(), "443"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := tls.Client(conn, &tls.Config{ServerName: "late"}).HandshakeContext(testCtx(t)); err == nil {
		t.Error("there is a certificate")
	}
	if err := <-done; !errors.Is(err, ErrNoCertificates) {
		t.Errorf("the connection fails with %v", err)
	}
	if health := strings.Join(late.Status().Health, " "); !strings.Contains(health, "ListenTLS has no certificate") {
		t.Errorf("the health is %q", health)
	}
}

// A coordinator that signs nothing keeps nobody waiting, and is asked again.
func TestCertificateIsRefused(t *testing.T) {
	m := newMesh(t, nil)
	web := m.up("web")
	n := web.running()
	keeper := &certKeeper{node: n, held: newPublished(heldCert{}), done: make(chan struct{})}
	want, err := wantedCertificate(n.view.load().netMap)
	if err != nil {
		t.Fatal(err)
	}
	want.Names = []string{"other.mesh.internal"} // which the coordinator does not sign for
	var plan cert.Plan
	keeper.attempt(testCtx(t), want, &plan)
	if plan.Problem == nil || plan.Held != nil || plan.Due(want, time.Now()) == 0 {
		t.Errorf("after a certificate for another name: %+v", plan)
	}
	keeper.publish(heldCert{plan.Held, plan.Problem})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := keeper.get(ctx); !errors.Is(err, plan.Problem) {
		t.Errorf("who connects gets %v", err)
	}
}
