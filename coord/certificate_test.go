package coord

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/cert"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// certRequest asks for a certificate of another name than the node's.
func certRequest(t *testing.T, node key.NodePublic) (tailcfg.CertificateRequest, crypto.Signer) {
	t.Helper()
	private, err := cert.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := cert.Request(private, []string{"victim.mesh.internal"})
	if err != nil {
		t.Fatal(err)
	}
	return tailcfg.CertificateRequest{Version: 130, NodeKey: node, Request: der}, private
}

// authorityOf returns the authority's certificate that a node is told.
func authorityOf(t *testing.T, self *tailcfg.Node) (der []byte) {
	t.Helper()
	if self == nil || len(self.CapMap[tailcfg.CapAuthority]) != 1 {
		t.Fatalf("there is no authority in %+v", self)
	}
	if err := json.Unmarshal(self.CapMap[tailcfg.CapAuthority][0], &der); err != nil {
		t.Fatal(err)
	}
	return der
}

func TestCertificateIsForTheNodesOwnName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		m := ts.machine()
		m.join("web", ts.reusable(AuthKeyOptions{}))
		root := authorityOf(t, m.stream("").frame("the first frame").Node)
		block, _ := pem.Decode(ts.AuthorityPEM())
		if string(block.Bytes) != string(root) {
			t.Error("nodes are told of another authority than administrators")
		}

		req, private := certRequest(t, m.node)
		code, text := m.status("/machine/certificate", req)
		var resp tailcfg.CertificateResponse
		if err := json.Unmarshal([]byte(text), &resp); code != 200 || err != nil {
			t.Fatalf("%d %s", code, text)
		}
		c, err := cert.New(resp.Chain, private)
		if err != nil {
			t.Fatal(err)
		}
		want := cert.Want{
			Names: []string{"web.mesh.internal"},
			Addrs: []netip.Addr{netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("fd7a:115c:a1e0::6440:1")},
			Roots: [][]byte{root},
		}
		if !want.Fits(c, time.Now()) {
			t.Errorf("it is for %v and %v", c.Leaf.DNSNames, c.Leaf.IPAddresses)
		}
	})
}

func TestCertificateIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		m, other := ts.machine(), ts.machine()
		m.join("web", ts.reusable(AuthKeyOptions{}))
		other.join("other", ts.reusable(AuthKeyOptions{}))
		good, _ := certRequest(t, m.node)
		forged := good
		forged.Request = append([]byte(nil), good.Request...)
		forged.Request[len(forged.Request)-1] ^= 1
		for what, row := range map[string]struct {
			from *machine
			req  any
			code int
		}{
			"another machine's node": {other, good, 403},
			"a forged request":       {m, forged, 400},
			"no request":             {m, tailcfg.CertificateRequest{NodeKey: m.node}, 400},
			"no JSON":                {m, []byte("rubbish"), 400},
		} {
			if code, text := row.from.status("/machine/certificate", row.req); code != row.code {
				t.Errorf("%s: %d %s, want %d", what, code, text, row.code)
			}
		}
		if err := ts.ExpireNode(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if code, text := m.status("/machine/certificate", good); code != 403 {
			t.Errorf("an expired node: %d %s", code, text)
		}
	})
}

// The authority is the store's: all coordinators have it, and every run.
func TestAuthorityOutlivesTheCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryStore()
		first := serve(t, Config{Store: store})
		want := first.AuthorityPEM()
		second := serve(t, Config{Store: store})
		first.stop()
		third := serve(t, Config{Store: store})
		for _, ts := range []*testServer{second, third} {
			if got := ts.AuthorityPEM(); string(got) != string(want) {
				t.Errorf("another authority:\n%s\nnot\n%s", got, want)
			}
		}
	})
}

// With another domain there is another authority, of which nodes are told at once.
func TestAuthorityIsForTheDomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryStore()
		first := serve(t, Config{Store: store})
		m := first.machine()
		m.join("web", first.reusable(AuthKeyOptions{}))
		s := m.stream("")
		before := authorityOf(t, s.frame("the first frame").Node)
		second := serve(t, Config{Store: store, Domain: "other.test"})
		resp := s.frame("another authority")
		after := authorityOf(t, resp.Node)
		if string(before) == string(after) || resp.PeersChanged != nil {
			t.Errorf("it is told %+v", resp)
		}
		root, err := x509.ParseCertificate(after)
		if err != nil || !reflect.DeepEqual(root.PermittedDNSDomains, []string{"other.test"}) {
			t.Errorf("it is for %v, %v", root.PermittedDNSDomains, err)
		}
		second.stop()
	})
}

func TestStoredAuthorityIsChecked(t *testing.T) {
	for what, value := range map[string]string{"nothing": `{}`, "rubbish": `{"Root":"eA==","Key":"eA=="}`} {
		if _, err := parseRecord(Entry{Key: kindAuthority, Value: []byte(value)}); err == nil {
			t.Errorf("an authority of %s is accepted", what)
		}
	}
}

// published is a public DNS.
type published struct {
	records [][2]string
	fails   bool
}

func (p *published) publish(_ context.Context, name, value string) error {
	if p.fails {
		return errors.New("the DNS is in a bad mood")
	}
	p.records = append(p.records, [2]string{name, value})
	return nil
}

var challenge = strings.Repeat("x", 43)

func TestSetDNSPublishesChallenges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var public published
		ts := serve(t, Config{Domain: "mesh.example.com", PublishTXT: public.publish})
		m, other := ts.machine(), ts.machine()
		m.join("web", ts.reusable(AuthKeyOptions{}))
		other.join("other", ts.reusable(AuthKeyOptions{}))
		s := m.stream("")
		first := s.frame("the first frame")
		if _, ok := first.Node.CapMap[tailcfg.CapHTTPS]; !ok || !reflect.DeepEqual(first.DNSConfig.CertDomains, []string{"web.mesh.example.com"}) {
			t.Errorf("a node is told %+v, %+v", first.Node.CapMap, first.DNSConfig)
		}

		good := tailcfg.SetDNSRequest{Version: 130, NodeKey: m.node, Name: "_acme-challenge.web.mesh.example.com", Type: "TXT", Value: challenge}
		if code, text := m.status("/machine/set-dns", good); code != 200 || text != "{}" {
			t.Errorf("a challenge: %d %s", code, text)
		}
		for what, change := range map[string]func(*tailcfg.SetDNSRequest){
			"another's name":     func(r *tailcfg.SetDNSRequest) { r.Name = "_acme-challenge.other.mesh.example.com" },
			"the name itself":    func(r *tailcfg.SetDNSRequest) { r.Name = "web.mesh.example.com" },
			"the domain":         func(r *tailcfg.SetDNSRequest) { r.Name = "_acme-challenge.mesh.example.com" },
			"another type":       func(r *tailcfg.SetDNSRequest) { r.Type = "A" },
			"text of one's own":  func(r *tailcfg.SetDNSRequest) { r.Value = "v=spf1 +all" },
			"what is too long":   func(r *tailcfg.SetDNSRequest) { r.Value += "x" },
			"text of that size":  func(r *tailcfg.SetDNSRequest) { r.Value = strings.Repeat(" ", 43) },
			"another's node key": func(r *tailcfg.SetDNSRequest) { r.NodeKey = other.node },
		} {
			bad := good
			change(&bad)
			if code, text := m.status("/machine/set-dns", bad); code != http.StatusForbidden {
				t.Errorf("%s: %d %s", what, code, text)
			}
		}
		if want := [][2]string{{good.Name, challenge}}; !reflect.DeepEqual(public.records, want) {
			t.Errorf("published is %v, want %v", public.records, want)
		}
		public.fails = true
		if code, text := m.status("/machine/set-dns", good); code != http.StatusBadGateway || strings.Contains(text, "mood") {
			t.Errorf("a failure: %d %s", code, text)
		}

		if err := ts.RenameNode(t.Context(), 1, "shop"); err != nil {
			t.Fatal(err)
		}
		if resp := s.frame("another name"); resp.DNSConfig == nil || !reflect.DeepEqual(resp.DNSConfig.CertDomains, []string{"shop.mesh.example.com"}) {
			t.Errorf("a node that is renamed is told %+v", resp.DNSConfig)
		}
	})
}
