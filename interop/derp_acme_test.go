package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// A relay gets its certificate by ACME on the port on which it serves.
func TestDERPCertificateByACME(t *testing.T) {
	const name = "relay.test"
	relay := derp.NewServer(derp.ServerConfig{Logger: newLog(t, "derp.Server").slog()})
	t.Cleanup(func() { check(t, "our relay closes", relay.Close()) })
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	check(t, "the relay has a socket", err)

	ca := newAuthority(t, name, listener.Addr().String())
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		HostPolicy: autocert.HostWhitelist(name),
		Cache:      autocert.DirCache(t.TempDir()),
		Client:     &acme.Client{DirectoryURL: ca.web.URL + "/directory", HTTPClient: ca.web.Client()},
	}
	server := httptest.NewUnstartedServer(relay)
	server.Listener.Close()
	server.Listener = tls.NewListener(listener, relay.TLSConfig(manager.TLSConfig()))
	server.Start()
	t.Cleanup(func() { closeServer(server) })

	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	c, err := derp.Dial(within(t, 20*time.Second), derp.DialConfig{
		Key:     key.NewNode(),
		RootCAs: roots,
		Region: &derpmap.Region{Nodes: []*derpmap.Node{{
			HostName: name, IPv4: loopback, IPv6: "none", DERPPort: listener.Addr().(*net.TCPAddr).Port,
		}}},
	})
	check(t, "a client connects that trusts the authority", err)
	c.Close()
	equal(t, "the certificates that were asked for", ca.issued, 1)
}

// authority is an ACME server (RFC 8555) in memory that signs for one name,
// after it has looked for the proof at one address (RFC 8737). It does not check
// who asks.
type authority struct {
	t    *testing.T
	web  *httptest.Server
	name string
	addr string
	key  crypto.Signer
	cert *x509.Certificate

	mu     sync.Mutex // guards what is below
	proven bool
	leaf   []byte
	issued int
}

func newAuthority(t *testing.T, name, addr string) *authority {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, "the authority has a key", err)
	ca := &authority{t: t, name: name, addr: addr, key: private}
	der := ca.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, private.Public())
	ca.cert, err = x509.ParseCertificate(der)
	check(t, "the authority has a certificate", err)
	ca.web = httptest.NewServer(ca)
	t.Cleanup(ca.web.Close)
	return ca
}

func (ca *authority) sign(template *x509.Certificate, public crypto.PublicKey) []byte {
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour)
	parent := ca.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, ca.key)
	if err != nil {
		ca.t.Errorf("the authority signs: %v", err)
	}
	return der
}

const acmeToken = "token"

func (ca *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	url := func(path string) string { return ca.web.URL + path }
	var body struct{ Payload string }
	text, _ := io.ReadAll(r.Body)
	json.Unmarshal(text, &body)
	payload, _ := base64.RawURLEncoding.DecodeString(body.Payload)
	w.Header().Set("Replay-Nonce", rand.Text())

	status := "pending"
	if ca.proven {
		status = "valid"
	}
	challenge := map[string]any{"type": "tls-alpn-01", "url": url("/challenge"), "token": acmeToken, "status": status}
	identifier := map[string]any{"type": "dns", "value": ca.name}
	switch r.URL.Path {
	case "/directory":
		reply(w, http.StatusOK, map[string]any{
			"newNonce": url("/nonce"), "newAccount": url("/account"), "newOrder": url("/order"), "revokeCert": url("/revoke"), "keyChange": url("/key"),
		})
	case "/nonce":
	case "/account":
		w.Header().Set("Location", url("/account/1"))
		reply(w, http.StatusCreated, map[string]any{"status": "valid"})
	case "/challenge":
		if err := ca.prove(); err != nil {
			ca.t.Errorf("the relay does not prove that it has its name: %v", err)
		}
		reply(w, http.StatusOK, challenge)
	case "/authorization":
		reply(w, http.StatusOK, map[string]any{"status": status, "identifier": identifier, "challenges": []any{challenge}})
	case "/finalize":
		ca.issue(payload)
		fallthrough
	case "/order", "/order/1":
		order := map[string]any{
			"status": "pending", "identifiers": []any{identifier},
			"authorizations": []any{url("/authorization")}, "finalize": url("/finalize"),
		}
		switch {
		case ca.leaf != nil:
			order["status"], order["certificate"] = "valid", url("/certificate")
		case ca.proven:
			order["status"] = "ready"
		}
		w.Header().Set("Location", url("/order/1"))
		reply(w, map[bool]int{true: http.StatusCreated, false: http.StatusOK}[r.URL.Path == "/order"], order)
	case "/certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: ca.leaf})
		pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
	default:
		http.NotFound(w, r)
	}
}

func reply(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

// prove looks whether the relay shows a certificate that only the holder of the
// account can have made.
func (ca *authority) prove() error {
	conn, err := tls.Dial("tcp", ca.addr, &tls.Config{
		ServerName: ca.name, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true,
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != "acme-tls/1" || len(state.PeerCertificates) != 1 {
		return fmt.Errorf("it speaks %q and shows %d certificates", state.NegotiatedProtocol, len(state.PeerCertificates))
	}
	for _, e := range state.PeerCertificates[0].Extensions {
		if e.Id.String() == "1.3.6.1.5.5.7.1.31" && len(e.Value) == 2+sha256.Size {
			ca.proven = true
			return nil
		}
	}
	return fmt.Errorf("its certificate proves nothing")
}

// issue signs what a request asks for.
func (ca *authority) issue(payload []byte) {
	var request struct{ CSR string }
	json.Unmarshal(payload, &request)
	der, _ := base64.RawURLEncoding.DecodeString(request.CSR)
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || !ca.proven || len(csr.DNSNames) != 1 || csr.DNSNames[0] != ca.name {
		ca.t.Errorf("the relay asks for %+v: %v", csr, err)
		return
	}
	ca.leaf = ca.sign(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: csr.DNSNames}, csr.PublicKey)
	ca.issued++
}
