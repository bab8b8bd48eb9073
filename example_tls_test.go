package meshnet_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/derp"
)

// A service with TLS: the coordinator of package coord signs its certificate, and
// other nodes trust that without being told to.
func ExampleServer_ListenTLS() {
	controlURL, authKey, stop := startMesh()
	defer stop()
	shop := &meshnet.Server{Hostname: "shop", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer shop.Close()
	ln, err := shop.ListenTLS("tcp", ":443")
	if errors.Is(err, meshnet.ErrNoCertificates) { // such as Headscale's, today
		log.Fatal("this coordinator has no certificates: set Certificates")
	} else if err != nil {
		log.Fatal(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello from ", r.TLS.ServerName)
	}))
	if _, err := shop.Up(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(shop.CertDomains())

	visitor := &meshnet.Server{Hostname: "visitor", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer visitor.Close()
	resp, err := visitor.HTTPClient().Get("https://shop/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	fmt.Printf("%s\n", text)
	// Output:
	// [shop.mesh.internal]
	// hello from shop.mesh.internal
}

// Certificates from files that certbot or a secret manager renews.
func ExampleServer_ListenTLS_files() {
	files, err := derp.LoadCertFiles("/etc/mesh/fullchain.pem", "/etc/mesh/privkey.pem", nil)
	if err != nil {
		fmt.Println("no certificate in these files")
		return
	}
	srv := &meshnet.Server{ControlURL: "https://mesh.example.com", Dir: "state", Certificates: files.GetCertificate}
	defer srv.Close()
	ln, err := srv.ListenTLS("tcp", ":443")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(ln, nil))
	// Output: no certificate in these files
}

// HTTP/2 on a port of the mesh.
func ExampleServer_GetCertificate() {
	controlURL, authKey, stop := startMesh()
	defer stop()
	shop := &meshnet.Server{Hostname: "shop", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer shop.Close()
	ln, err := shop.Listen("tcp", ":443")
	if err != nil {
		log.Fatal(err)
	}
	web := &http.Server{TLSConfig: &tls.Config{GetCertificate: shop.GetCertificate}}
	go web.ServeTLS(ln, "", "")

	resp, err := shop.HTTPClient().Get("https://shop/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Proto)
	// Output: HTTP/2.0
}

// TLS with something else than HTTP: the roots for tls.Config.
func ExampleServer_RootCAs() {
	controlURL, authKey, stop := startMesh()
	defer stop()
	srv := &meshnet.Server{Hostname: "lines", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	ln, err := srv.ListenTLS("tcp", ":6697")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			fmt.Fprintln(conn, "welcome")
			conn.Close()
		}
	}()

	ctx := context.Background()
	roots, err := srv.RootCAs(ctx)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := srv.Dial(ctx, "tcp", "lines:6697")
	if err != nil {
		log.Fatal(err)
	}
	secure := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "lines.mesh.internal"})
	defer secure.Close()
	text, _ := io.ReadAll(secure)
	fmt.Printf("%s", text)
	// Output: welcome
}
