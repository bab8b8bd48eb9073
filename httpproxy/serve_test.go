package httpproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestListenersThatAreRefused(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1080} }
	for _, test := range []struct {
		addr  net.Addr
		local bool
	}{
		{tcp("127.0.0.1"), true},
		{tcp("127.8.9.10"), true},
		{tcp("::1"), true},
		{tcp("::ffff:127.0.0.1"), true},
		{memAddr("memory"), true},
		{&net.UnixAddr{Name: "/tmp/127.0.0.1", Net: "unix"}, true},
		{tcp("0.0.0.0"), false},
		{tcp("::"), false},
		{&net.TCPAddr{Port: 1080}, false},
		{tcp("192.0.2.1"), false},
		{tcp("100.64.0.1"), false},
		{tcp("fe80::1"), false},
	} {
		dial := memNet{}.dial
		for name, s := range map[string]*Server{
			"open":      {Dial: dial},
			"password":  {Dial: dial, Auth: only("a", "b")},
			"anonymous": {Dial: dial, Anonymous: true},
		} {
			ctx, stop := context.WithCancel(t.Context())
			stop()
			ln := &addrListener{memListen("x"), test.addr}
			err := s.Serve(ctx, ln)
			if refused := !errors.Is(err, context.Canceled); refused != (name == "open" && !test.local) {
				t.Errorf("%s on %v: %v", name, test.addr, err)
			} else if refused && !strings.Contains(err.Error(), "Anonymous") {
				t.Errorf("the error %v does not help", err)
			}
			if _, err := ln.Accept(); err != net.ErrClosed {
				t.Errorf("%s on %v: the listener is left open", name, test.addr)
			}
		}
	}
}

type addrListener struct {
	*memListener
	at net.Addr
}

func (l *addrListener) Addr() net.Addr { return l.at }

func TestDialIsNeeded(t *testing.T) {
	if err := new(Server).Serve(t.Context(), memListen("x")); err == nil || !strings.Contains(err.Error(), "Dial") {
		t.Errorf("Serve returned %v", err)
	}
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{Auth: only("me", "pw")})
		p.listen(t, "web:80")
		p.listen(t, "db:1")
		auth := basic("me:pw")

		running := p.connect(t)
		running.say("GET http://web/ HTTP/1.1", "Host: web", auth, "")
		target := p.accept(t, "web:80")
		target.wantHead("the target is asked", "GET / HTTP/1.1", "Host: web")

		tunnel := p.connect(t)
		tunnel.say("CONNECT db:1 HTTP/1.1", "Host: db", auth, "")
		far := p.accept(t, "db:1")
		tunnel.wantHead("the tunnel is open", "HTTP/1.1 200 Connection established")

		idle := p.connect(t)
		idle.say("GET ftp://web/ HTTP/1.1", "Host: web", auth, "")
		idle.wantAnswer("a first request", "GET", http.StatusBadRequest)
		silent, stranger, half := p.connect(t), p.connect(t), p.connect(t)
		stranger.say("GET http://web/ HTTP/1.1", "Host: web", "")
		stranger.wantAnswer("no password", "GET", http.StatusProxyAuthRequired)
		half.say("GET http://web/ HTTP/1.1")

		begin := time.Now()
		shut := make(chan error, 1)
		go func() { shut <- p.Shutdown(context.Background()) }()
		if err := <-p.done; err != ErrServerClosed {
			t.Errorf("Serve returned %v", err)
		}
		p.done <- nil
		idle.wantEnd("a connection that waits for a request is closed")
		silent.wantEnd("one that has sent nothing too")
		stranger.wantEnd("one without a password too")
		half.wantEnd("one in the middle of its first request too")
		if time.Since(begin) > 0 {
			t.Error("they were not closed at once")
		}
		if _, err := p.ln.dial(t.Context()); err == nil {
			t.Error("the listener is open")
		}

		go target.say("HTTP/1.1 200 OK", "Date: x", "Content-Length: 2", "")
		running.wantHead("a running request goes on", "HTTP/1.1 200 OK", "Content-Length: 2", "Date: x", "Connection: close")
		tunnel.say("x")
		far.want("so does a tunnel", "x\r\n")
		select {
		case err := <-shut:
			t.Errorf("Shutdown returned %v before they ended", err)
		default:
		}
		go io.WriteString(target, "ok")
		running.want("until it has ended", "ok")
		running.wantEnd("and with it the connection")
		tunnel.Close()
		far.wantEnd("and the tunnel")
		far.Close()
		if err := <-shut; err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
		if err := p.Serve(t.Context(), memListen("late")); err != ErrServerClosed {
			t.Errorf("Serve after Shutdown returned %v", err)
		}
	})
}

// endings are the ways to end what does not want to.
var endings = map[string]func(p *proxy) error{
	"Shutdown that is out of time": func(p *proxy) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("Shutdown returned %w", err)
		}
		return nil
	},
	"the end of Serve's context": func(p *proxy) error {
		p.stop()
		err := <-p.done
		p.done <- nil
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("Serve returned %w", err)
		}
		return nil
	},
}

func TestHardEnd(t *testing.T) {
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials, handlers atomic.Int32
				var p *proxy
				p = start(t, &Server{
					Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						<-r.Context().Done()
						handlers.Add(1)
					}),
					SOCKS: func(ctx context.Context, c net.Conn) {
						io.Copy(io.Discard, c)
						<-ctx.Done()
						handlers.Add(1)
					},
					Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
						if address == "slow:80" {
							<-ctx.Done()
							dials.Add(1)
							return nil, ctx.Err()
						}
						return p.memNet.dial(ctx, network, address)
					},
				})
				p.listen(t, "web:80")
				var peers []*peer
				for _, request := range []string{"GET http://slow/", "CONNECT slow:80", "GET /", "\x05"} {
					c := p.connect(t)
					c.say(request+" HTTP/1.1", "Host: h", "")
					peers = append(peers, c)
				}
				forwarded := p.connect(t)
				forwarded.say("POST http://web/ HTTP/1.1", "Host: web", "Content-Length: 10", "", "abc")
				origin := p.accept(t, "web:80")
				origin.wantHead("the target is asked", "POST / HTTP/1.1", "Host: web", "Content-Length: 10")
				client, target := p.tunnel(t, "db:1")
				peers = append(peers, forwarded, client, target)
				synctest.Wait()
				if err := end(p); err != nil {
					t.Error(err)
				}
				if n := handlers.Load(); n != 2 {
					t.Errorf("it returned when %d of 2 handlers had", n)
				}
				synctest.Wait() // a Transport dials in a goroutine of its own
				if n := dials.Load(); n != 2 {
					t.Errorf("%d of 2 dials have ended", n)
				}
				for _, c := range peers {
					c.wantEnd("everything has ended")
				}
				io.Copy(io.Discard, origin)
			})
		})
	}
}

func TestRequestsToTheProxyItself(t *testing.T) {
	requests := [][]string{
		{"GET /proxy.pac HTTP/1.1", "Host: localhost"},
		{"GET http://proxy:1080/proxy.pac HTTP/1.1", "Host: proxy:1080"}, // through itself
	}
	t.Run("with a Handler", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.HandleFunc("/proxy.pac", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") })
			client := start(t, &Server{Handler: mux}).connect(t)
			for _, request := range requests {
				client.say(append(request, "")...)
				res, body := client.wantAnswer("the page", "GET", http.StatusOK)
				if body != "<html>" || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
					t.Errorf("got %q, %v", body, res.Header)
				}
			}
			client.say("OPTIONS * HTTP/1.1", "Host: localhost", "")
			client.wantAnswer("the mux is asked about everything", "OPTIONS", http.StatusBadRequest)
		})
	})
	t.Run("without one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client := start(t, &Server{}).connect(t)
			for _, request := range append(requests, []string{"GET //web/ HTTP/1.1", "Host: web"}, []string{"OPTIONS * HTTP/1.1", "Host: web"}) {
				client.say(append(request, "")...)
				if _, body := client.wantAnswer("a page", "GET", http.StatusBadRequest); !strings.HasPrefix(body, "This is an HTTP proxy") {
					t.Errorf("got %q", body)
				}
			}
		})
	})
	t.Run("without the password", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client := start(t, &Server{Auth: only("me", "pw")}).connect(t)
			client.say(append(requests[0], "")...)
			client.wantAnswer("Handler needs none", "GET", http.StatusBadRequest)
			client.say(append(requests[1], "")...)
			client.wantAnswer("a client that means a proxy has one", "GET", http.StatusProxyAuthRequired)
		})
	})
}

func TestAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		p := start(t, &Server{
			Allow: func(_ context.Context, r *Request) error {
				asked = append(asked, fmt.Sprintf("%s %s %d %q %v", r.Method, r.Host, r.Port, r.User, r.Client))
				return errors.New("secret reason")
			},
			Dial: func(context.Context, string, string) (net.Conn, error) {
				t.Error("Dial was called")
				return nil, net.ErrClosed
			},
		})
		client := p.connect(t)
		client.say("PUT http://[2001:DB8::1]/ HTTP/1.1", "Host: x", "")
		if _, body := client.wantAnswer("a request", "PUT", http.StatusForbidden); body != "this proxy does not allow connections to [2001:db8::1]:80\n" {
			t.Errorf("the sentence is %q", body)
		}
		client.say("CONNECT Db.Example:22 HTTP/1.1", "Host: x", "")
		client.wantAnswer("a tunnel", "GET", http.StatusForbidden)
		// However an address is spelt, a rule for it must hold.
		mapped := p.connect(t)
		mapped.say("CONNECT [0:0:0:0:0:ffff:7f00:1]:22 HTTP/1.1", "Host: x", "")
		mapped.wantAnswer("a tunnel", "GET", http.StatusForbidden)
		if got, want := strings.Join(asked, "\n"), "PUT 2001:db8::1 80 \"\" client\nCONNECT Db.Example 22 \"\" client\nCONNECT 127.0.0.1 22 \"\" client"; got != want {
			t.Errorf("Allow was asked\n%s\nwant\n%s", got, want)
		}
		synctest.Wait()
		if !strings.Contains(p.logs.String(), "secret reason") {
			t.Errorf("the log does not have the reason:\n%s", p.logs)
		}
	})
}

func TestOnePortForBothProtocols(t *testing.T) {
	for _, first := range []byte{4, 5} {
		synctest.Test(t, func(t *testing.T) {
			p := start(t, &Server{SOCKS: func(_ context.Context, c net.Conn) {
				<-time.After(time.Minute) // the deadline of the first byte is no longer
				io.Copy(c, c)
			}})
			socks := p.connect(t)
			hello := string([]byte{first, 1, 0})
			go io.WriteString(socks, hello)
			socks.want("SOCKS gets all bytes", hello)
			socks.closeWrite()
			socks.wantEnd("the connection ends with SOCKS")

			p.web(t, "web:80", func(http.ResponseWriter, *http.Request) {})
			res, err := p.client(t).Get("http://web/")
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		})
	}
	synctest.Test(t, func(t *testing.T) {
		client := start(t, &Server{}).connect(t)
		client.Write([]byte{5})
		client.wantEnd("without SOCKS its clients are let go")
	})
}

func TestTimeouts(t *testing.T) {
	const handshake, idle = 5 * time.Second, 70 * time.Second
	for name, test := range map[string]struct {
		idle  time.Duration
		say   string
		ended time.Duration
	}{
		"no byte":                 {idle, "", handshake},
		"half a head":             {idle, "GET http://", handshake},
		"after a request":         {idle, "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", idle},
		"after a request, always": {0, "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 2 * time.Minute},
		"half a second head":      {idle, "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\nGET ht", handshake},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := start(t, &Server{HandshakeTimeout: handshake, IdleTimeout: test.idle}).connect(t)
				begin := time.Now()
				go io.WriteString(client, test.say)
				io.Copy(io.Discard, client.r)
				if took := time.Since(begin); took != test.ended {
					t.Errorf("the connection ended after %v, want %v", took, test.ended)
				}
			})
		})
	}
}
