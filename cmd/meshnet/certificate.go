package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// acmeManager gets certificates for the host, when they are asked for.
func (c *webConfig) acmeManager(dir string) *autocert.Manager {
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		HostPolicy: autocert.HostWhitelist(c.acmeHost),
		Cache:      autocert.DirCache(filepath.Join(dir, "acme")),
	}
	if c.acmeDirectory != "" {
		manager.Client = &acme.Client{DirectoryURL: c.acmeDirectory}
	}
	return manager
}

const (
	certificateCheck = 12 * time.Hour
	certificateRetry = 2 * time.Minute     // autocert tries again after one
	renewedBefore    = 14 * 24 * time.Hour // autocert begins after 60 of 90 days
)

// A certificateWatch gets the certificate of a host before somebody needs it, and
// tells people how that goes: clients are only told that there is none.
type certificateWatch struct {
	host string
	get  func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	log  *slog.Logger

	until time.Time // of the certificate that was told of last
}

// run looks at the certificate until ctx ends.
func (c *certificateWatch) run(ctx context.Context) {
	c.log.Info("certificate: asking for one, or looking for that of the last run", "host", c.host)
	for {
		wait := time.NewTimer(c.look(time.Now()))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
	}
}

// look returns after which time to look again.
func (c *certificateWatch) look(now time.Time) time.Duration {
	cert, err := c.get(&tls.ClientHelloInfo{
		ServerName: c.host,
		// What all clients of today know: autocert keeps another for older ones.
		CipherSuites:     []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		SupportedCurves:  []tls.CurveID{tls.CurveP256},
	})
	if err != nil {
		c.log.Warn("certificate: there is none yet; the host's name and its port 443 must lead here", "host", c.host, "err", err)
		return certificateRetry
	}
	until := cert.Leaf.NotAfter
	if until != c.until {
		c.until = until
		c.log.Info("certificate", "host", c.host, "until", until)
	}
	if until.Sub(now) < renewedBefore {
		c.log.Warn("certificate: it has not been renewed; the host's name and its port 443 must lead here", "host", c.host, "until", until)
	}
	return certificateCheck
}
