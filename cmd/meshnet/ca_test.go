package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"testing"
)

// A program that is no node trusts nodes by what meshnet ca prints.
func TestCA(t *testing.T) {
	h := host(t, shortDir(t))
	shop := h.join(t, "shop", h.authKey(t))
	ln, err := shop.ListenTLS("tcp", ":443")
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "welcome") }))

	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(decodes[struct{ Certificate string }](t, h, "ca").Certificate)) {
		t.Fatal("it is no certificate")
	}
	visitor := h.join(t, "visitor", h.authKey(t))
	client := &http.Client{Transport: &http.Transport{
		DialContext:     visitor.Dial,
		TLSClientConfig: &tls.Config{RootCAs: roots},
	}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://shop.mesh.internal/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "welcome" {
		t.Errorf("the page is %q, %v", text, err)
	}
	h.says(t, []string{"-----BEGIN CERTIFICATE-----\n"}, "ca")
}
