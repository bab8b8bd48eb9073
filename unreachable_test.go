package meshnet

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/meshnet-go/meshnet/internal/control"
)

// TestUpWithAWrongURLFailsAtOnce has things behind ControlURL that are no
// coordinator, or none that is trusted: Up says what to do about it, and so does
// Dial.
func TestUpWithAWrongURLFailsAtOnce(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>It works!") })
	elsewhere := http.RedirectHandler("https://mesh.example/key", http.StatusFound)
	serve := func(start func(http.Handler) *httptest.Server, h http.Handler) string {
		srv := start(h)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of refused handshakes
		t.Cleanup(srv.Close)
		return srv.URL
	}
	for _, tt := range []struct {
		sentence string
		url      string
		advice   string
	}{
		{"a certificate that nobody knows", serve(httptest.NewTLSServer, page), "RootCAs"},
		{"a web site", serve(httptest.NewServer, page), "check the scheme, the host and the port"},
		{"a web server without the page", serve(httptest.NewServer, http.NotFoundHandler()), "check the scheme, the host and the port"},
		{"a redirect", serve(httptest.NewServer, elsewhere), "check the scheme, the host and the port"},
		{"https to a server without TLS", strings.Replace(serve(httptest.NewServer, page), "http:", "https:", 1), "http://"},
		{"http to a server with TLS", strings.Replace(serve(httptest.NewTLSServer, page), "https:", "http:", 1), "check the scheme"},
	} {
		s := &Server{ControlURL: tt.url, Ephemeral: true}
		_, err := s.Up(testCtx(t))
		var wrong *ControlURLError
		if !errors.As(err, &wrong) || wrong.URL != tt.url || !strings.Contains(err.Error(), tt.advice) {
			t.Errorf("%s: %v", tt.sentence, err)
		}
		if _, err := s.Dial(testCtx(t), "tcp", "peer:80"); !errors.As(err, &wrong) {
			t.Errorf("%s: Dial: %v", tt.sentence, err)
		}
		if got := s.Status(); got.State != StateStarting || len(got.Health) != 1 || !strings.Contains(got.Health[0], tt.advice) {
			t.Errorf("%s: the status is %q with %q", tt.sentence, got.State, got.Health)
		}
		s.Close()
	}
}

func TestJudgeControlURL(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		err      error
		advice   string // none: it is worth waiting
	}{
		{"an unknown authority", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "RootCAs"},
		{"another name", &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: new(x509.Certificate)}}, "a name that is in"},
		{"an old certificate", &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, "clock"},
		{"a certificate for something else", x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}, "good for servers"},
		{"no TLS", tls.RecordHeaderError{}, "http://"},
		{"no such name", &net.OpError{Err: &net.DNSError{IsNotFound: true}}, "check the name"},
		{"no DNS", &net.OpError{Err: &net.DNSError{IsTimeout: true}}, ""},
		{"a DNS that has no answer for the moment", &net.DNSError{IsNotFound: true, IsTemporary: true}, ""},
		{"no coordinator", control.ErrNotCoordinator, "check the scheme"},
		{"nobody listens", &net.OpError{Err: syscall.ECONNREFUSED}, ""},
		{"no network", &net.OpError{Err: syscall.ENETUNREACH}, ""},
	} {
		err := judgeControlURL("https://mesh.example", tt.err)
		wrong, ok := errors.AsType[*ControlURLError](err)
		if ok != (tt.advice != "") || ok && !strings.Contains(wrong.Advice, tt.advice) || !errors.Is(err, tt.err) && tt.sentence != "another name" {
			t.Errorf("%s: %v", tt.sentence, err)
		}
	}
}

// TestUpAfterAWrongURLWasMended starts a node before its coordinator, in whose
// place something else answers.
func TestUpAfterAWrongURLWasMended(t *testing.T) {
	m := newMesh(t, nil)
	m.control.stop()
	other := serve(m.listen(&m.controlAddr), http.NotFoundHandler(), io.NopCloser(nil))
	s := m.server("node")
	var wrong *ControlURLError
	for range 2 {
		if _, err := s.Up(testCtx(t)); !errors.As(err, &wrong) {
			t.Errorf("Up: %v", err)
		}
	}
	other.stop()
	m.startCoord()
	if _, err := s.Up(testCtx(t)); err != nil {
		t.Errorf("Up after it was mended: %v", err)
	}
}

// TestUpAfterARefusalWasMended has the coordinator change its mind.
func TestUpAfterARefusalWasMended(t *testing.T) {
	m := newMesh(t, nil)
	s := m.server("node")
	s.AdvertiseTags = []string{"tag:web"}
	policy := `{"tagOwners": {"tag:web": ["autogroup:member"]}, "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}`
	var refused *RefusedError
	if _, err := s.Up(testCtx(t)); !errors.As(err, &refused) {
		t.Errorf("Up with a tag that nobody may have: %v", err)
	}
	if err := m.coord.SetPolicy(t.Context(), []byte(policy)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Up(testCtx(t)); err != nil {
		t.Errorf("Up when the policy allows it: %v", err)
	}
}
