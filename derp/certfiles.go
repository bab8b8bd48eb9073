package derp

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certFilesPeriod is how often, at most, the files of a certificate are looked
// at: with the first handshake after that.
const certFilesPeriod = 10 * time.Second

// CertFiles is a certificate in files that somebody else renews: its
// GetCertificate, in what is given to [Server.TLSConfig], always has the newest.
type CertFiles struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex // guards what is below
	current *tls.Certificate
	version [2]fileVersion // of what current was read from, or could not be
	checked time.Time
}

// fileVersion tells a file's content from an earlier one.
type fileVersion struct {
	changed time.Time
	size    int64
}

// LoadCertFiles reads a certificate with its chain, and its key, from PEM files.
// A logger that is not nil gets a line when the files have changed.
func LoadCertFiles(certFile, keyFile string, log *slog.Logger) (*CertFiles, error) {
	c := &CertFiles{cert: certFile, key: keyFile, log: cmp.Or(log, slog.New(slog.DiscardHandler))}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("derp: the relay's certificate: %w", err)
	}
	return c, nil
}

// GetCertificate is for [tls.Config]. It gives the old certificate while the
// files cannot be read, or do not belong together.
func (c *CertFiles) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < certFilesPeriod {
		return c.current, nil
	}
	c.checked = time.Now()
	if version, err := c.stat(); err == nil && version == c.version {
		return c.current, nil
	}
	if err := c.load(); err != nil {
		c.log.Warn("derp: the relay's certificate has changed, but cannot be read", "err", err)
	} else {
		c.log.Info("derp: the relay has a new certificate", "until", c.current.Leaf.NotAfter)
	}
	return c.current, nil
}

func (c *CertFiles) load() error {
	version, err := c.stat()
	if err != nil {
		return err
	}
	c.version = version
	cert, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.current = &cert
	return nil
}

func (c *CertFiles) stat() (version [2]fileVersion, err error) {
	for i, file := range []string{c.cert, c.key} {
		info, err := os.Stat(file)
		if err != nil {
			return version, err
		}
		version[i] = fileVersion{info.ModTime(), info.Size()}
	}
	return version, nil
}
