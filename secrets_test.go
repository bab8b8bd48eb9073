package meshnet

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/key"
)

// secrets are what nobody may read in a log, by what they are.
type secrets map[string]string

// keysOf notes the keys that a node has at the moment.
func (s secrets) keysOf(t *testing.T, srv *Server, when string) {
	t.Helper()
	id := identityOf(t, srv)
	s.key(srv.Hostname+"'s node key "+when, id.node.Secret())
	s.key(srv.Hostname+"'s machine key "+when, id.machine.Secret())
}

// key notes a private key in the forms in which protocols and programs write it.
func (s secrets) key(what, text string) {
	digits := strings.TrimPrefix(text, "privkey:")
	s[what] = digits
	raw, err := hex.DecodeString(digits)
	if err != nil {
		panic(err)
	}
	s.raw(what, raw)
}

func (s secrets) raw(what string, raw []byte) {
	s[what+" in hexadecimal"] = hex.EncodeToString(raw)
	s[what+" in base64"] = base64.RawStdEncoding.EncodeToString(raw)
	s[what+" in base64url"] = base64.RawURLEncoding.EncodeToString(raw)
	s[what+" as bytes"] = strings.Trim(fmt.Sprint(raw), "[]")
}

// wantNoneIn looks for the secrets, and for all else that looks like a key and is
// not called a public one: WireGuard's preshared keys and session keys, the disco
// keys, and those of the coordinator and the relay.
func (s secrets) wantNoneIn(t *testing.T, log string) {
	t.Helper()
	if len(log) == 0 {
		t.Fatal("there is no log")
	}
	for what, secret := range s {
		if strings.Contains(strings.ToLower(log), strings.ToLower(secret)) {
			t.Errorf("%s is in the log", what)
		}
	}
	rest := publicKey.ReplaceAllString(log, "")
	for _, found := range keyLike.FindAllString(rest, -1) {
		t.Errorf("%q in the log looks like a key", found)
	}
}

var (
	publicKey = regexp.MustCompile(`\b(mkey|nodekey|discokey):[0-9a-f]{64}\b`)
	keyLike   = regexp.MustCompile(`\b[0-9a-fA-F]{64}\b|\b[A-Za-z0-9+/_-]{43}=|privkey:|_key=|mkauth-`)
)

// TestNoSecretInTheLog lets a mesh live at debug level, with all that has to do
// with secrets, and looks for every one of them in the log of all.
func TestNoSecretInTheLog(t *testing.T) {
	m := newMesh(t, nil)
	secrets := secrets{"the auth key": m.authKey}
	a, b := m.server("a"), m.server("b")
	for _, s := range []*Server{a, b} {
		s.PostQuantum = true
		m.bringUp(s)
		secrets.keysOf(t, s, "at first")
	}
	echo(t, b, "tcp")
	dial := func() {
		t.Helper()
		conn, err := a.Dial(testCtx(t), "tcp", "b:7")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	dial()

	if _, err := a.ListenTLS("tcp", ":443"); err != nil {
		t.Fatal(err)
	}
	held, err := a.running().keeping.keeper.Load().held.wait(testCtx(t), func(h heldCert) (bool, error) { return h.cert != nil, h.err })
	if err != nil {
		t.Fatal(err)
	}
	private, err := held.cert.PrivateKey.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	secrets.raw("the key of a certificate", private)

	bad := m.server("bad")
	bad.AuthKey = "mkauth-secret-but-wrong"
	bad.Up(testCtx(t))
	secrets["a wrong auth key"] = bad.AuthKey
	secrets.keysOf(t, bad, "which is refused")

	person := m.server("person")
	person.AuthKey = ""
	login := person.loginURL(t)
	if err := m.coord.Approve(t.Context(), login, coord.ApproveOptions{}); err != nil {
		t.Fatal(err)
	}

	if err := a.Reauth(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	secrets.keysOf(t, a, "after Reauth")
	if err := person.Logout(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	again := m.restarted(b)
	again.AuthKey = m.authKeyFor("tag:new")
	secrets["another auth key"] = again.AuthKey
	m.bringUp(again)
	secrets.keysOf(t, again, "after a restart with another auth key")
	secrets["b's credential"], _ = load(again.Store, storedCredential)

	addr, password, err := a.Loopback()
	if err != nil {
		t.Fatal(err)
	}
	secrets["the password of Loopback"] = password
	throughProxy(t, addr, password)
	throughProxy(t, addr, "wrong-"+password)

	host, guest := m.pair()
	host.PostQuantum, guest.PostQuantum = true, true
	pairOf(t, host, guest)
	secrets["the token of a pair"] = host.Pair.Token()
	secrets.raw("the secret of a pair", host.Pair.secret[:])
	secrets.key("the host's key", host.Pair.own.Secret())
	secrets.key("the guest's key", guest.Pair.own.Secret())
	psk := host.Pair.presharedKey()
	secrets.raw("the preshared key of a pair", psk[:])

	for _, s := range []*Server{a, again, person, bad, host, guest} {
		s.Close()
	}
	secrets.wantNoneIn(t, m.log.String())
}

// loginURL is where a person must sign in for the node.
func (s *Server) loginURL(t *testing.T) string {
	t.Helper()
	_, err := s.Up(testCtx(t))
	login, ok := err.(interface{ Unwrap() error }).Unwrap().(*NeedsLoginError)
	if !ok {
		t.Fatalf("Up: %v", err)
	}
	return login.URL
}

// throughProxy asks for a page through a proxy; whether there is one does not
// matter.
func throughProxy(t *testing.T, addr, password string) {
	proxy := &url.URL{Scheme: "http", Host: addr, User: url.UserPassword("user", password)}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy)}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(testCtx(t), http.MethodGet, "http://nobody.mesh.internal/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := transport.RoundTrip(req); err == nil {
		resp.Body.Close()
	}
}

// pairOf makes a connection from the guest of a pair to its host.
func pairOf(t *testing.T, host, guest *Server) {
	t.Helper()
	ln, err := host.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	dialled, _ := pair(t, guest, ln, "host:7")
	dialled.Close()
}

// TestNoSecretInWhatIsPrinted prints every exported struct that has a secret, in
// every manner.
func TestNoSecretInWhatIsPrinted(t *testing.T) {
	m := newMesh(t, nil)
	s := m.up("node")
	pair, err := NewPair(m.relayRegion())
	if err != nil {
		t.Fatal(err)
	}
	other := &Server{Hostname: "other", AuthKey: s.AuthKey, Pair: pair}
	node, machine := key.NewNode(), key.NewMachine()
	secrets := secrets{"the auth key": s.AuthKey, "the pair's token": pair.Token()}
	secrets.raw("the pair's secret", pair.secret[:])
	secrets.keysOf(t, s, "in the store")
	secrets.key("a node key", node.Secret())
	secrets.key("a machine key", machine.Secret())

	var text bytes.Buffer
	loggers := []*slog.Logger{slog.New(slog.NewTextHandler(&text, nil)), slog.New(slog.NewJSONHandler(&text, nil))}
	printed := []any{
		s, other, pair, *pair, s.Status(), *s.Status(), s.Status().Self, s.Store, s.Underlay, s.Counters(), s.HTTPProxy(), s.SOCKS5(),
		node, machine, &node, &machine, m.cfg.Store, derp.ServerConfig{Key: node}, derp.DialConfig{Key: node},
		coord.AuthKeyOptions{}, m.relayRegion(), s.HTTPClient(),
	}
	keys, err := m.coord.AuthKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range append(printed, keys) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&text, verb+"\n", v)
			fmt.Fprintf(&text, verb+"\n", struct{ V any }{v})
		}
		for _, logger := range loggers {
			logger.Info("printed", "v", v)
		}
	}
	for what, secret := range secrets {
		if strings.Contains(strings.ToLower(text.String()), strings.ToLower(secret)) {
			t.Errorf("%s is printed", what)
		}
	}
	for _, store := range []any{s.Store, m.cfg.Store} {
		if got := fmt.Sprintf("%+v", store); got != "[memory store]" {
			t.Errorf("a store is printed as %.40s", got)
		}
	}
	if got, want := fmt.Sprintf("%+v", s), `meshnet.Server("node", running)`; got != want {
		t.Errorf("a Server is printed as %s, want %s", got, want)
	}
}
