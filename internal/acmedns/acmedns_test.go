package acmedns

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

const name = "web.mesh.example.com"

// authority is a bare ACME server for one order of one name. It takes a challenge
// for met when the published record is the one for the account, and checks no
// signatures.
type authority struct {
	t       *testing.T
	web     *httptest.Server
	account *ecdsa.PrivateKey
	records map[string]string // the public DNS

	offers string // the type of challenge
	known  bool   // the account is there already
	status string // of the proof
	leaf   []byte
}

const token = "a-token"

func newAuthority(t *testing.T) (*authority, *Client) {
	account, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, account: account, records: make(map[string]string), offers: "dns-01", status: "pending"}
	a.web = httptest.NewServer(a)
	t.Cleanup(a.web.Close)
	return a, &Client{
		Directory: a.web.URL + "/directory",
		Key:       account,
		HTTP:      a.web.Client(),
		Publish: func(_ context.Context, name, value string) error {
			a.records[name] = value
			return nil
		},
	}
}

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	url := func(path string) string { return a.web.URL + path }
	var body struct{ Payload string }
	text, _ := io.ReadAll(r.Body)
	json.Unmarshal(text, &body)
	payload, _ := base64.RawURLEncoding.DecodeString(body.Payload)
	w.Header().Set("Replay-Nonce", rand.Text())
	challenge := map[string]any{"type": a.offers, "url": url("/challenge"), "token": token, "status": a.status}
	switch r.URL.Path {
	case "/directory":
		a.reply(w, 200, map[string]any{"newNonce": url("/nonce"), "newAccount": url("/account"), "newOrder": url("/order")})
	case "/nonce":
	case "/account":
		w.Header().Set("Location", url("/account/1"))
		a.reply(w, map[bool]int{true: 200, false: 201}[a.known], map[string]any{"status": "valid"})
	case "/challenge":
		thumbprint, _ := acme.JWKThumbprint(a.account.Public())
		want := sha256.Sum256([]byte(token + "." + thumbprint))
		if a.status = "invalid"; a.records["_acme-challenge."+name] == base64.RawURLEncoding.EncodeToString(want[:]) {
			a.status = "valid"
		}
		a.reply(w, 200, challenge)
	case "/authorization":
		a.reply(w, 200, map[string]any{"status": a.status, "identifier": map[string]any{"type": "dns", "value": name}, "challenges": []any{challenge}})
	case "/finalize":
		a.issue(payload)
		fallthrough
	case "/order", "/order/1":
		order := map[string]any{"status": "pending", "authorizations": []any{url("/authorization")}, "finalize": url("/finalize")}
		if a.status == "valid" {
			order["status"] = "ready"
		}
		if a.leaf != nil {
			order["status"], order["certificate"] = "valid", url("/certificate")
		}
		w.Header().Set("Location", url("/order/1"))
		a.reply(w, map[bool]int{true: 201, false: 200}[r.URL.Path == "/order"], order)
	case "/certificate":
		pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: a.leaf})
	}
}

func (a *authority) reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}

// issue signs what is asked for, with the account's key for want of another.
func (a *authority) issue(payload []byte) {
	var request struct{ CSR string }
	json.Unmarshal(payload, &request)
	der, _ := base64.RawURLEncoding.DecodeString(request.CSR)
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		a.t.Error(err)
		return
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: csr.DNSNames, NotAfter: time.Now().Add(time.Hour)}
	if a.leaf, err = x509.CreateCertificate(rand.Reader, template, template, csr.PublicKey, a.account); err != nil {
		a.t.Error(err)
	}
}

// request asks for a certificate.
func request(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestObtain(t *testing.T) {
	for what, adjust := range map[string]func(*authority){
		"a new account":                    func(*authority) {},
		"an account that is there already": func(a *authority) { a.known = true },
		"a name that was proven before":    func(a *authority) { a.status = "valid" },
	} {
		a, c := newAuthority(t)
		adjust(a)
		chain, err := c.Obtain(t.Context(), []string{name}, request(t))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if leaf, err := x509.ParseCertificate(chain[0]); err != nil || leaf.DNSNames[0] != name {
			t.Errorf("%s: it is for %v, %v", what, leaf, err)
		}
	}
}

func TestObtainFails(t *testing.T) {
	for what, row := range map[string]struct {
		adjust func(*authority, *Client)
		want   string
	}{
		"the record is not published": {func(_ *authority, c *Client) {
			c.Publish = func(context.Context, string, string) error { return errors.New("no such zone") }
		}, "no such zone"},
		"another record is": {func(_ *authority, c *Client) {
			c.Publish = func(context.Context, string, string) error { return nil }
		}, "proving that " + name + " is ours"},
		"it wants another proof": {func(a *authority, _ *Client) { a.offers = "http-01" }, "takes no proof by DNS"},
		"it is not there":        {func(_ *authority, c *Client) { c.Directory = "http://127.0.0.1:1/directory" }, "opening an account at http://127.0.0.1:1/"},
	} {
		a, c := newAuthority(t)
		row.adjust(a, c)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := c.Obtain(ctx, []string{name}, request(t))
		cancel()
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
