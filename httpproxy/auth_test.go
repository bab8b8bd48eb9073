package httpproxy

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
)

// basic is a line of a request.
func basic(userPassword string) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(userPassword))
}

func only(user, password string) func(string, string) bool {
	return func(u, p string) bool { return u == user && p == password }
}

// A refusal costs nothing but an answer: the connection goes on.
func TestPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{
			Auth: only("jürgen", "schlüssel: ☃"),
			Allow: func(_ context.Context, r *Request) error {
				if r.User != "jürgen" || r.Client.String() != "client" {
					t.Errorf("Allow is asked about %+v", r)
				}
				return nil
			},
		})
		p.web(t, "web:80", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page") })
		client := p.connect(t)
		ask := func(why string, status int, lines ...string) {
			t.Helper()
			client.say(append(lines, "")...)
			res, body := client.wantAnswer(why, "GET", status)
			if got := res.Header["Proxy-Authenticate"]; status == http.StatusProxyAuthRequired &&
				(len(got) != 1 || got[0] != `Basic realm="proxy", charset="UTF-8"` || !strings.Contains(body, "password")) {
				t.Errorf("%s: the challenge is %q with %q", why, got, body)
			}
		}
		for why, auth := range map[string]string{
			"no password":      "X: y",
			"a wrong user":     basic("juergen:schlüssel: ☃"),
			"a wrong password": basic("jürgen:schlüssel"),
			"no colon":         basic("jürgen"),
			"nothing":          basic(""),
			"no base64":        "Proxy-Authorization: Basic !",
			"another scheme":   "Proxy-Authorization: Bearer anVlcmdlbjo=",
			"another header":   strings.TrimPrefix(basic("jürgen:schlüssel: ☃"), "Proxy-"),
		} {
			ask(why, http.StatusProxyAuthRequired, "GET http://web/ HTTP/1.1", "Host: web", auth)
			ask(why, http.StatusProxyAuthRequired, "CONNECT web:80 HTTP/1.1", "Host: web", auth)
			ask(why, http.StatusProxyAuthRequired, "GET ftp://web/ HTTP/1.1", "Host: web", auth)
			ask(why, http.StatusProxyAuthRequired, "POST http://web/ HTTP/1.1", "Host: web", "Content-Length: 0", auth)
		}
		ask("the right one", http.StatusOK, "GET http://web/ HTTP/1.1", "Host: web", basic("jürgen:schlüssel: ☃"))
		ask("the scheme in small letters", http.StatusOK, "GET http://web/ HTTP/1.1", "Host: web", strings.Replace(basic("jürgen:schlüssel: ☃"), "Basic", "basic", 1))
		ask("each request is asked", http.StatusProxyAuthRequired, "GET http://web/ HTTP/1.1", "Host: web")
		client.say("CONNECT web:80 HTTP/1.1", "Host: web", basic("jürgen:schlüssel: ☃"), "")
		client.wantHead("a tunnel", "HTTP/1.1 200 Connection established")
		synctest.Wait()
		if logs := p.logs.String(); strings.Contains(logs, "schlüssel") || strings.Contains(logs, "Basic") {
			t.Errorf("the log has the password:\n%s", logs)
		}
	})
}

// Clients that nobody here wrote, over TCP, with the password in the proxy's
// URL.
func TestClientOfTheStandardLibrary(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "" {
			t.Error("the page gets the proxy's password")
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
	})
	plain, secure := httptest.NewServer(page), httptest.NewTLSServer(page)
	defer plain.Close()
	defer secure.Close()
	s := &Server{Dial: new(net.Dialer).DialContext, Auth: only("me", "geheim ☃:/@")}
	proxyURL := serveTCP(t, s)

	tr := secure.Client().Transport.(*http.Transport).Clone()
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	for _, test := range []struct {
		user   *url.Userinfo
		works  bool
		status int
	}{
		{url.UserPassword("me", "geheim ☃:/@"), true, http.StatusOK},
		{url.UserPassword("me", "guess"), false, http.StatusProxyAuthRequired},
		{nil, false, http.StatusProxyAuthRequired},
	} {
		at := *proxyURL
		at.User = test.user
		tr.Proxy = http.ProxyURL(&at)
		tr.CloseIdleConnections()
		res, err := client.Post(plain.URL+"/a?b", "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != test.status || test.works && string(body) != "POST /a?b hello" {
			t.Errorf("http as %v: %v %q", test.user, res.Status, body)
		}
		res, err = client.Get(secure.URL + "/a?b")
		if (err == nil) != test.works {
			t.Errorf("https as %v: %v", test.user, err)
			continue
		}
		if err == nil {
			body, _ = io.ReadAll(res.Body)
			res.Body.Close()
			if string(body) != "GET /a?b " {
				t.Errorf("https as %v: %q", test.user, body)
			}
		}
	}
}

// serveTCP serves on loopback until the test ends.
func serveTCP(t testing.TB, s *Server) *url.URL {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return &url.URL{Scheme: "http", Host: ln.Addr().String()}
}
