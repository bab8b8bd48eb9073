package httpproxy_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/meshnet-go/meshnet/httpproxy"
)

// A proxy with a password on a port of loopback, and a client that uses it.
func Example() {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello from behind the proxy")
	}))
	defer page.Close()

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	proxy := &httpproxy.Server{
		Dial: new(net.Dialer).DialContext, // or that of a meshnet.Server
		Auth: func(user, password string) bool { return user == "me" && password == "secret" },
	}
	done := make(chan error)
	go func() { done <- proxy.Serve(context.Background(), ln) }()

	client := &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(&url.URL{Scheme: "http", User: url.UserPassword("me", "secret"), Host: ln.Addr().String()}),
	}}
	res, err := client.Get(page.URL)
	if err != nil {
		log.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	fmt.Println(string(body))

	proxy.Shutdown(context.Background())
	fmt.Println(<-done)
	client.CloseIdleConnections()
	// Output:
	// hello from behind the proxy
	// httpproxy: server closed
}

// Programs that look for their proxy themselves find it in a PAC file, which
// the proxy serves on its own port.
func ExampleServer_handler() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /proxy.pac", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ns-proxy-autoconfig")
		fmt.Fprintf(w, `function FindProxyForURL(url, host) { return dnsDomainIs(host, ".mesh") ? "PROXY %s" : "DIRECT"; }`, r.Host)
	})
	proxy := &httpproxy.Server{Dial: new(net.Dialer).DialContext, Handler: mux}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- proxy.Serve(ctx, ln) }()

	res, err := http.Get("http://" + ln.Addr().String() + "/proxy.pac")
	if err != nil {
		log.Fatal(err)
	}
	res.Body.Close()
	fmt.Println(res.Status, res.Header.Get("Content-Type"))
	stop()
	fmt.Println(<-done)
	// Output:
	// 200 OK application/x-ns-proxy-autoconfig
	// context canceled
}

// Some targets only, and nobody else's ports.
func ExampleServer_allow() {
	proxy := &httpproxy.Server{
		Dial: new(net.Dialer).DialContext,
		Allow: func(ctx context.Context, r *httpproxy.Request) error {
			if r.Port != 80 && r.Port != 443 {
				return fmt.Errorf("%s to port %d from %v", r.Method, r.Port, r.Client)
			}
			return nil
		},
	}
	err := proxy.Allow(context.Background(), &httpproxy.Request{Method: "CONNECT", Host: "mail", Port: 25, Client: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000}})
	fmt.Println(err)
	// Output: CONNECT to port 25 from 127.0.0.1:40000
}
