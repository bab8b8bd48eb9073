package meshnet_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"

	"github.com/meshnet-go/meshnet"
)

// serveHello serves a page in the mesh.
func serveHello(srv *meshnet.Server) {
	ln, err := srv.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
}

// getBy gets the page through a proxy, as curl or a browser would.
func getBy(proxy *url.URL) string {
	transport := &http.Transport{Proxy: http.ProxyURL(proxy)}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://node/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	return string(page)
}

// A proxy for a program on this machine that has only settings for one.
func ExampleServer_Loopback() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	serveHello(srv)
	addr, credential, err := srv.Loopback()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(getBy(&url.URL{Scheme: "socks5", Host: addr, User: url.UserPassword("any", credential)}))
	// Output: hello
}

// Both kinds of proxies on one port of the program's choice.
func ExampleServer_HTTPProxy() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	serveHello(srv)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	proxy := srv.HTTPProxy()
	proxy.SOCKS = srv.SOCKS5().ServeConn
	go proxy.Serve(ctx, ln)

	fmt.Println(getBy(&url.URL{Scheme: "http", Host: ln.Addr().String()}))
	fmt.Println(getBy(&url.URL{Scheme: "socks5", Host: ln.Addr().String()}))
	// Output:
	// hello
	// hello
}
