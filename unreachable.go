package meshnet

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"github.com/meshnet-go/meshnet/internal/control"
)

// A ControlURLError means that ControlURL leads to no coordinator that can be
// trusted, and that somebody must do something about it. The node goes on trying
// in the background, lest a program that starts too early must be started again:
// calling Up again later succeeds when it has been mended elsewhere.
type ControlURLError struct {
	URL string // the Server's ControlURL
	Err error  // what is wrong
	// Advice is what to do, as the rest of a sentence.
	Advice string
}

// Error says what is wrong and what to do.
func (e *ControlURLError) Error() string { return e.Err.Error() + " (" + e.Advice + ")" }

// Unwrap returns Err.
func (e *ControlURLError) Unwrap() error { return e.Err }

// judgeControlURL returns a [*ControlURLError] for what waiting does not mend,
// and err itself for everything else: coordinators are restarted, and hosts are
// off the network for a while.
func judgeControlURL(url string, err error) error {
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var name *net.DNSError
	var advice string
	switch {
	case errors.As(err, &unknown):
		advice = "set Underlay.RootCAs to the authority that has signed the coordinator's certificate"
	case errors.As(err, &hostname):
		advice = "set ControlURL to a name that is in the coordinator's certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		advice = "renew the coordinator's certificate, or set this host's clock"
	case errors.As(err, &invalid):
		advice = "give the coordinator a certificate that is good for servers"
	case errors.As(err, &record):
		advice = "that port does not speak TLS: check ControlURL, which begins with http:// where a coordinator has no certificate"
	case errors.As(err, &name) && name.IsNotFound && !name.IsTemporary && !name.IsTimeout:
		advice = "no such host: check the name in ControlURL, and the DNS of this host"
	case errors.Is(err, control.ErrNotCoordinator):
		advice = "check the scheme, the host and the port of ControlURL"
	default:
		return err
	}
	return &ControlURLError{URL: url, Err: err, Advice: advice}
}
