package cert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	addrs = []netip.Addr{netip.MustParseAddr("100.64.0.7"), netip.MustParseAddr("fd7a:115c:a1e0::7")}
)

const (
	domain = "mesh.test"
	name   = "web." + domain
)

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newAuthority(t testing.TB) *Authority { return must[*Authority](t)(NewAuthority(domain, epoch)) }

// issue has a sign for a new key.
func issue(t testing.TB, a *Authority, name string, addrs []netip.Addr) *tls.Certificate {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der := must[[]byte](t)(a.Sign(must[[]byte](t)(Request(key, []string{"anything"})), name, addrs, epoch))
	return must[*tls.Certificate](t)(New([][]byte{der}, key))
}

func anything(*x509.Certificate) error { return nil }

// verify checks c as a client does that dials host.
func verify(c *tls.Certificate, a *Authority, host string, at time.Time, allowed func(*x509.Certificate) error) error {
	roots := x509.NewCertPool()
	AddRoots(roots, [][]byte{a.Root()}, allowed)
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: at})
	return err
}

func TestClientsTrustWhatTheAuthoritySigns(t *testing.T) {
	a := newAuthority(t)
	good := issue(t, a, name, addrs)
	denied := func(*x509.Certificate) error { return errors.New("it is not allowed") }
	for _, row := range []struct {
		what    string
		cert    *tls.Certificate
		host    string
		after   time.Duration
		allowed func(*x509.Certificate) error
		want    string // in the error
	}{
		{"its name", good, name, 0, anything, ""},
		{"an address", good, addrs[0].String(), 0, anything, ""},
		{"an address of IPv6", good, addrs[1].String(), 0, anything, ""},
		{"a clock that is behind", good, name, -backdate, anything, ""},
		{"its last moment", good, name, lifetime, anything, ""},
		{"too late", good, name, lifetime + time.Second, anything, "expired"},
		{"another name", good, "db." + domain, 0, anything, "not db.mesh.test"},
		{"another address", good, "100.64.0.8", 0, anything, "not 100.64.0.8"},
		{"what the client does not allow", good, name, 0, denied, "it is not allowed"},
		{"a name outside the domain", issue(t, a, "bank.example.com", nil), "bank.example.com", 0, anything, "not permitted by any constraint"},
		{"an address outside meshes", issue(t, a, name, []netip.Addr{netip.MustParseAddr("192.0.2.1")}), name, 0, anything, "not permitted by any constraint"},
		{"another authority", issue(t, newAuthority(t), name, addrs), name, 0, anything, "unknown authority"},
	} {
		err := verify(row.cert, a, row.host, epoch.Add(row.after), row.allowed)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", row.what, err, row.want)
		}
	}
}

func TestSignRefusesBadRequests(t *testing.T) {
	a := newAuthority(t)
	weak := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 1024))
	odd := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	forged := must[[]byte](t)(Request(must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), []string{name}))
	forged[len(forged)-1] ^= 1
	for what, request := range map[string][]byte{
		"nothing":       nil,
		"rubbish":       []byte("rubbish"),
		"RSA":           must[[]byte](t)(Request(weak, []string{name})),
		"P-224":         must[[]byte](t)(Request(odd, []string{name})),
		"not its key's": forged,
	} {
		if _, err := a.Sign(request, name, addrs, epoch); err == nil {
			t.Errorf("a request that is %s is signed", what)
		}
	}
}

func TestAuthorityIsStored(t *testing.T) {
	a := newAuthority(t)
	key := must[[]byte](t)(a.Key())
	again := must[*Authority](t)(LoadAuthority(a.Root(), key))
	if err := verify(issue(t, again, name, addrs), a, name, epoch, anything); err != nil {
		t.Error(err)
	}
	if _, err := LoadAuthority(newAuthority(t).Root(), key); err == nil {
		t.Error("a key is loaded with another's certificate")
	}
	if _, err := LoadAuthority(a.Root(), key[:20]); err == nil {
		t.Error("half a key is loaded")
	}
	for _, row := range []struct {
		domain string
		after  time.Duration
		want   bool
	}{
		{domain, 0, true},
		{domain, rootLifetime - rootReserve - time.Second, true},
		{domain, rootLifetime - rootReserve, false},
		{"other.test", 0, false},
	} {
		if got := a.Serves(row.domain, epoch.Add(row.after)); got != row.want {
			t.Errorf("it serves %s after %v: %v", row.domain, row.after, got)
		}
	}
}

func TestWantFits(t *testing.T) {
	a := newAuthority(t)
	c := issue(t, a, name, addrs)
	want := Want{Names: []string{name}, Addrs: addrs, Roots: [][]byte{a.Root()}}
	public := Want{Names: []string{name}, Addrs: addrs}
	for _, row := range []struct {
		what string
		want Want
		at   time.Time
		fits bool
	}{
		{"the same", want, epoch, true},
		{"too late", want, epoch.Add(lifetime + time.Second), false},
		{"another name", Want{[]string{"db." + domain}, addrs, want.Roots}, epoch, false},
		{"another address", Want{want.Names, addrs[:1], want.Roots}, epoch, false},
		{"other addresses", Want{want.Names, []netip.Addr{addrs[1], addrs[0]}, want.Roots}, epoch, false},
		{"another authority", Want{want.Names, addrs, [][]byte{newAuthority(t).Root()}}, epoch, false},
		{"of two authorities one", Want{want.Names, addrs, [][]byte{newAuthority(t).Root(), a.Root()}}, epoch, true},
		{"any authority", public, epoch, true},
		{"any authority, too late", public, epoch.Add(lifetime), false},
	} {
		if got := row.want.Fits(c, row.at); got != row.fits {
			t.Errorf("%s: %v", row.what, got)
		}
	}
	if at := RenewAt(c); at.Sub(epoch) < lifetime/3 || at.Sub(epoch) > lifetime*2/3 {
		t.Errorf("it is renewed after %v", at.Sub(epoch))
	}
}

func TestCertificateIsStored(t *testing.T) {
	c := issue(t, newAuthority(t), name, addrs)
	again := must[*tls.Certificate](t)(Decode(must[[]byte](t)(Encode(c))))
	if !again.Leaf.Equal(c.Leaf) || !again.PrivateKey.(*ecdsa.PrivateKey).Equal(c.PrivateKey) {
		t.Error("another comes back")
	}
	if _, err := Decode([]byte("rubbish")); err == nil {
		t.Error("rubbish is a certificate")
	}
	if _, err := New(c.Certificate, must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))); err == nil {
		t.Error("another key has the certificate")
	}
}

// What a coordinator says that its authority is may be anything.
func TestBadRootsAreLeftOut(t *testing.T) {
	leaf := issue(t, newAuthority(t), name, addrs)
	pool := x509.NewCertPool()
	AddRoots(pool, [][]byte{nil, []byte("rubbish"), leaf.Certificate[0]}, anything)
	if !pool.Equal(x509.NewCertPool()) {
		t.Error("a root that is none is trusted")
	}
}

func FuzzSign(f *testing.F) {
	a := newAuthority(f)
	key, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(must[[]byte](f)(Request(key, []string{name})))
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, request []byte) {
		der, err := a.Sign(request, name, addrs, epoch)
		if err != nil {
			return
		}
		if leaf, err := x509.ParseCertificate(der); err != nil || leaf.DNSNames[0] != name || len(leaf.DNSNames) != 1 {
			t.Errorf("what is signed names %v: %v", leaf, err)
		}
	})
}
