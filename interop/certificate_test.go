package interop

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/meshnet-go/meshnet/derp"
)

// writeCertificate makes a certificate for a host, writes it and its key into a
// directory, and returns the name that pins it in a relay map.
func writeCertificate(t *testing.T, dir, host string) (certFile, keyFile, certName string) {
	t.Helper()
	cert, certName, err := derp.SelfSigned(host)
	check(t, "there is a certificate for "+host, err)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	check(t, "the certificate's key has a form", err)
	return writeFile(t, dir, host+".crt", pemOf("CERTIFICATE", cert.Certificate[0])),
		writeFile(t, dir, host+".key", pemOf("PRIVATE KEY", key)), certName
}

func writeFile(t *testing.T, dir, name string, text []byte) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	check(t, name+" is written", os.WriteFile(path, text, 0o600))
	return path
}

func pemOf(what string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: what, Bytes: der})
}
