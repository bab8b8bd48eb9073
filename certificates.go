package meshnet

import (
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/internal/acmedns"
	"github.com/meshnet-go/meshnet/internal/cert"
	"github.com/meshnet-go/meshnet/internal/control"
	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

const (
	// issueTimeout is how long an attempt to get a certificate may take. Public
	// authorities look for the proof from several places.
	issueTimeout = 5 * time.Minute
	// certificateWait is how long a connection waits for the first certificate.
	certificateWait = 30 * time.Second
	// maxAuthorities and maxCertDomains bound what the coordinator tells.
	maxAuthorities = 4
	maxCertDomains = 16
)

// A certKeeper sees to it that a node has the certificate that the mesh has for
// it. Nodes that do not speak TLS have none.
type certKeeper struct {
	node *node
	held *published[heldCert]
	done chan struct{}
}

// heldCert is the certificate of a node, or why it has none; both, when it cannot
// be renewed.
type heldCert struct {
	cert *tls.Certificate
	err  error
}

// keeping is the certKeeper of a node, from when it is first asked for.
type keeping struct {
	once   sync.Once
	keeper atomic.Pointer[certKeeper]
}

// of returns the keeper, or nil when the node is closed.
func (k *keeping) of(n *node) *certKeeper {
	k.once.Do(func() {
		keeper := &certKeeper{node: n, held: newPublished(heldCert{}), done: make(chan struct{})}
		k.keeper.Store(keeper)
		go keeper.run(n.ctx)
	})
	return k.keeper.Load()
}

// wait returns when there is no keeper, or it has ended with the node.
func (k *keeping) wait() {
	k.once.Do(func() {})
	if keeper := k.keeper.Load(); keeper != nil {
		<-keeper.done
	}
}

// seekCertificate has the certificate of the mesh asked for, if the program has
// none of its own.
func (s *Server) seekCertificate() error {
	if s.Certificates != nil {
		return nil
	}
	n, err := s.start()
	if err != nil {
		return err
	}
	n.keeping.of(n)
	if v := n.view.load(); v.live() {
		_, err = wantedCertificate(v.netMap)
	}
	return err
}

// get returns the certificate, which it waits for while there is no reason to
// expect none.
func (k *certKeeper) get(ctx context.Context) (*tls.Certificate, error) {
	h, err := k.held.wait(ctx, func(h heldCert) (bool, error) {
		if cert.InForce(h.cert, time.Now()) {
			return true, nil
		}
		return false, h.err
	})
	if err != nil {
		return nil, fmt.Errorf("meshnet: there is no certificate: %w", err)
	}
	return h.cert, nil
}

// run gets the certificate and renews it until ctx ends.
func (k *certKeeper) run(ctx context.Context) {
	defer close(k.done)
	plan := cert.Plan{Held: k.load()}
	for ctx.Err() == nil {
		v, changed := k.node.view.watch()
		timer := time.NewTimer(k.step(ctx, v, &plan))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	k.held.update(func(h *heldCert) { *h = heldCert{err: net.ErrClosed} })
}

// idleWait is for when nothing is to be done until the view changes.
const idleWait = 24 * time.Hour

// step does what is due, and returns how long it is until something is.
func (k *certKeeper) step(ctx context.Context, v view, plan *cert.Plan) time.Duration {
	if v.netMap == nil {
		return idleWait
	}
	want, err := wantedCertificate(v.netMap)
	if err != nil {
		k.publish(heldCert{err: err})
		return idleWait
	}
	wait := plan.Due(want, time.Now())
	if wait == 0 && v.live() { // a coordinator that is away signs nothing
		k.publish(heldCert{plan.Held, plan.Problem})
		k.attempt(ctx, want, plan)
		wait = plan.Due(want, time.Now())
	}
	k.publish(heldCert{plan.Held, plan.Problem})
	if wait == 0 {
		return idleWait
	}
	return wait
}

// publish makes h what connections see, and wakes those that wait.
func (k *certKeeper) publish(h heldCert) {
	if now := k.held.load(); now.cert != h.cert || now.err != h.err {
		k.held.update(func(held *heldCert) { *held = h })
	}
}

// attempt tries once to get a certificate.
func (k *certKeeper) attempt(ctx context.Context, want cert.Want, plan *cert.Plan) {
	log := k.node.cfg.log
	c, err := k.issue(ctx, want)
	if err != nil {
		if ctx.Err() == nil {
			log.Warn("no certificate", "names", want.Names, "err", err)
		}
		plan.Failed(time.Now(), err)
		return
	}
	log.Info("got a certificate", "names", want.Names, "until", c.Leaf.NotAfter)
	plan.Got(c, want)
	text, err := cert.Encode(c)
	if err == nil {
		err = k.node.cfg.store.Save(storedCertificate, text)
	}
	if err != nil {
		log.Warn("the certificate is not stored", "err", err)
	}
}

// load returns the certificate of an earlier run, if there is one. A damaged one
// is replaced.
func (k *certKeeper) load() *tls.Certificate {
	text, err := load(k.node.cfg.store, storedCertificate)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var c *tls.Certificate
	if err == nil {
		c, err = cert.Decode([]byte(text))
	}
	if err != nil {
		k.node.cfg.log.Warn("the stored certificate", "err", err)
		return nil
	}
	return c
}

// issue gets a certificate for a new key.
func (k *certKeeper) issue(ctx context.Context, want cert.Want) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	session := k.node.current.Load()
	if session == nil {
		return nil, errors.New("the coordinator is not connected")
	}
	key, err := cert.NewKey()
	if err != nil {
		return nil, err
	}
	request, err := cert.Request(key, want.Names)
	if err != nil {
		return nil, err
	}
	var chain [][]byte
	if len(want.Roots) > 0 {
		chain, err = session.Certificate(ctx, request)
	} else {
		chain, err = k.obtain(ctx, session, want.Names, request)
	}
	if err != nil {
		return nil, err
	}
	c, err := cert.New(chain, key)
	if err == nil && !want.Fits(c, time.Now()) {
		err = fmt.Errorf("it is for %v and %v, until %v", c.Leaf.DNSNames, c.Leaf.IPAddresses, c.Leaf.NotAfter)
	}
	if err != nil {
		return nil, fmt.Errorf("the certificate is of no use: %w", err)
	}
	return c, nil
}

// obtain gets a certificate from a public authority.
func (k *certKeeper) obtain(ctx context.Context, session *control.Session, names []string, request []byte) ([][]byte, error) {
	cfg := &k.node.cfg
	account, err := acmeAccount(cfg.store)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext:       cfg.dial,
		TLSClientConfig:   &tls.Config{RootCAs: cfg.rootCAs},
		DisableKeepAlives: true,
	}
	client := acmedns.Client{
		Directory: cmp.Or(cfg.acmeDirectory, acmedns.LetsEncrypt),
		Key:       account,
		HTTP:      &http.Client{Transport: transport},
		Publish:   session.PublishTXT,
	}
	return client.Obtain(ctx, names, request)
}

// acmeAccount returns the key by which a public authority knows the node.
func acmeAccount(store Store) (crypto.Signer, error) {
	text, err := load(store, storedAccountKey)
	if err == nil {
		account, err := cert.DecodeKey([]byte(text))
		if err != nil {
			return nil, damaged(storedAccountKey, err)
		}
		return account, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	account, err := cert.NewKey()
	if err != nil {
		return nil, err
	}
	encoded, err := cert.EncodeKey(account)
	if err != nil {
		return nil, err
	}
	return account, save(store, storedAccountKey, string(encoded))
}

// wantedCertificate returns what certificate the mesh has for this node.
func wantedCertificate(m *netmap.Map) (cert.Want, error) {
	if m == nil {
		return cert.Want{}, ErrNoCertificates
	}
	if domains := certDomains(m); len(domains) > 0 {
		return cert.Want{Names: domains}, nil
	}
	roots, name := authorities(m), m.Names.FullName(m.Self.Name)
	if len(roots) == 0 || name == "" {
		return cert.Want{}, ErrNoCertificates
	}
	return cert.Want{Names: []string{name}, Addrs: addrs(m.Self), Roots: roots}, nil
}

// certDomains returns the names that the coordinator helps to prove are the
// node's.
func certDomains(m *netmap.Map) (domains []string) {
	if m.DNS == nil {
		return nil
	}
	for _, domain := range m.DNS.CertDomains {
		domain = strings.ToLower(strings.TrimSuffix(domain, "."))
		if m.Names.FullName(domain) == domain && len(domains) < maxCertDomains {
			domains = append(domains, domain)
		}
	}
	return domains
}

// authorities returns the certificates of the mesh's own, in DER.
func authorities(m *netmap.Map) (roots [][]byte) {
	for _, text := range m.Self.CapMap[tailcfg.CapAuthority] {
		var der []byte
		if json.Unmarshal(text, &der) == nil && len(der) > 0 && len(roots) < maxAuthorities {
			roots = append(roots, der)
		}
	}
	return roots
}
