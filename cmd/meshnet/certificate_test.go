package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"
)

func TestCertificateWatch(t *testing.T) {
	const day = 24 * time.Hour
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var issued time.Time
	printed := newOutput()
	w := &certificateWatch{host: "mesh.example.com", log: slog.New(slog.NewTextHandler(printed, nil))}
	w.get = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if issued.IsZero() {
			return nil, errors.New("no such name")
		}
		return &tls.Certificate{Leaf: &x509.Certificate{NotAfter: issued.Add(90 * day)}}, nil
	}
	told := 0
	for _, step := range []struct {
		at, issued int // days; 0: never
		says       string
		wait       time.Duration
	}{
		{1, 0, "level=WARN .*no such name", certificateRetry},
		{1, 1, "level=INFO msg=certificate .*until=2030-04-02", certificateCheck},
		{60, 1, "^$", certificateCheck},
		{61, 61, "level=INFO msg=certificate .*until=2030-06-01", certificateCheck},
		{136, 61, "^$", certificateCheck},
		{138, 61, "level=WARN .*not been renewed", certificateCheck},
	} {
		if step.issued > 0 {
			issued = start.Add(time.Duration(step.issued) * day)
		}
		wait := w.look(start.Add(time.Duration(step.at) * day))
		said := printed.String()[told:]
		told += len(said)
		if !regexp.MustCompile(step.says).MatchString(said) || wait != step.wait {
			t.Errorf("on day %d it waits %v and says %q; want %v and %q", step.at, wait, said, step.wait, step.says)
		}
	}
}

// Why there is no certificate is in the log of who serves, at once.
func TestCoordTellsOfACertificate(t *testing.T) {
	authority := httptest.NewServer(http.NotFoundHandler())
	defer authority.Close()
	p := start(t, nil, "coord", "-dir", shortDir(t), "-listen", "0", "-stun", "0", "-acme", "mesh.example.com", "-acme-directory", authority.URL)
	p.stderr.wait(t, `level=WARN msg="certificate: there is none yet; .* host=mesh.example.com err=.*404`)
	p.stderr.wait(t, "serving the mesh")
	p.interrupt()
	p.ends(t, "a signal", exitOK)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() // autocert's
}
