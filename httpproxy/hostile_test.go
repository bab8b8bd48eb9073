package httpproxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// strangers are clients that take places and do not go on.
var strangers = map[string]func(*peer){
	"silence":      func(p *peer) {},
	"a byte":       func(p *peer) { io.WriteString(p, "G") },
	"half a head":  func(p *peer) { p.say("GET http://web/ HTTP/1.1", "Host: web") },
	"no password":  func(p *peer) { p.say("GET http://web/ HTTP/1.1", "Host: web", ""); p.r.Peek(1) },
	"a web page":   func(p *peer) { p.say("GET / HTTP/1.1", "Host: web", ""); p.r.Peek(1) },
	"half a body":  func(p *peer) { p.say("POST http://web/ HTTP/1.1", "Host: web", "Content-Length: 1000", "", "x") },
	"no reading":   func(p *peer) { p.say("GET http://web/ HTTP/1.1", "Host: web", "") },
	"half a SOCKS": func(p *peer) { p.Write([]byte{5, 2}) },
}

// Whoever only takes places does not keep out those who have a password, nor
// end what they do.
func TestPlacesGoToThoseWithAPassword(t *testing.T) {
	for name, stranger := range strangers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, &Server{
					Auth:     only("me", "pw"),
					SOCKS:    func(_ context.Context, c net.Conn) { io.Copy(io.Discard, c) },
					MaxConns: 10,
				})
				p.web(t, "web:80", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page") })
				p.listen(t, "db:1")
				tunnel := p.connect(t)
				tunnel.say("CONNECT db:1 HTTP/1.1", "Host: db", basic("me:pw"), "")
				target := p.accept(t, "db:1")
				tunnel.wantHead("the tunnel is open", "HTTP/1.1 200 Connection established")
				for range 5 {
					for range 20 {
						go stranger(p.connect(quiet{t}))
					}
					synctest.Wait()
					good := p.connect(t)
					good.say("GET http://web/ HTTP/1.1", "Host: web", basic("me:pw"), "")
					if _, body := good.wantAnswer("a good client is served", "GET", http.StatusOK); body != "page" {
						t.Errorf("it got %q", body)
					}
					good.Close()
					tunnel.say("x")
					target.want("the tunnel lives on", "x\r\n")
				}
			})
		})
	}
}

// quiet is a test that does not mind what happens to its connections.
type quiet struct{ testing.TB }

func (quiet) Fatal(...any)          {}
func (quiet) Fatalf(string, ...any) {}

func TestStrangersAreLetGo(t *testing.T) {
	for name, stranger := range strangers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, &Server{Auth: only("me", "pw"), HandshakeTimeout: 5 * time.Second, IdleTimeout: time.Minute})
				client := p.connect(quiet{t})
				begin := time.Now()
				stranger(client)
				p.group.Shutdown(context.Background()) // it would wait for one who had proven anything
				if time.Since(begin) > 0 {
					t.Error("a stranger was waited for")
				}

				p = start(t, &Server{Auth: only("me", "pw"), HandshakeTimeout: 5 * time.Second, IdleTimeout: time.Minute})
				client = p.connect(quiet{t})
				stranger(client)
				<-time.After(61 * time.Second)
				synctest.Wait()
				if _, err := client.Write([]byte("x")); err == nil {
					t.Error("a stranger may stay")
				}
			})
		})
	}
}

func TestGarbage(t *testing.T) {
	for name, test := range map[string]struct{ say, want string }{
		"TLS":             {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HTTP/1.1 400 "},
		"zeros":           {strings.Repeat("\x00", 1<<20), "HTTP/1.1 431 "},
		"HTTP/2":          {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 "},
		"HTTP/3.0":        {"GET http://web/ HTTP/3.0\r\n\r\n", "HTTP/1.1 505 "},
		"an endless line": {strings.Repeat("G", 1<<20), "HTTP/1.1 431 "},
		"an endless URL":  {"GET http://web/" + strings.Repeat("x", 1<<20), "HTTP/1.1 431 "},
		"an endless head": {"GET http://web/ HTTP/1.1\r\nHost: web\r\n" + strings.Repeat("A: b\r\n", 1<<18), "HTTP/1.1 431 "},
		"an endless name": {"CONNECT " + strings.Repeat("x", 1<<20) + ":80 HTTP/1.1\r\n", "HTTP/1.1 431 "},
		"two hosts":       {"GET http://web/ HTTP/1.1\r\nHost: web\r\nHost: other\r\n\r\n", "HTTP/1.1 400 "},
		"a folded header": {"GET http://web/ HTTP/1.1\r\nHost: web\r\nA : b\r\n\r\n", "HTTP/1.1 400 "},
		"a bare CR":       {"GET http://web/ HTTP/1.1\r\nHost: web\r\nA: b\rC: d\r\n\r\n", "HTTP/1.1 400 "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, &Server{Dial: func(context.Context, string, string) (net.Conn, error) {
					t.Error("it was taken for a request")
					return nil, net.ErrClosed
				}})
				client := p.connect(t)
				go io.WriteString(client, test.say)
				begin := time.Now()
				answer, _ := io.ReadAll(client.r)
				if !strings.HasPrefix(string(answer), test.want) {
					t.Errorf("got %q, want %q", answer, test.want)
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// A thousand tunnels at once, one of which nobody reads from.
func TestThousandTunnels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		p := start(t, &Server{})
		p.listen(t, "db:1")
		slow, flood := p.tunnel(t, "db:1")
		big := strings.Repeat("x", 1<<20)
		go io.WriteString(flood, big)
		synctest.Wait()
		echo := p.listen(t, "echo:7")
		go func() {
			for {
				c, err := echo.Accept()
				if err != nil {
					return
				}
				go func() {
					io.Copy(c, c)
					c.(*memConn).CloseWrite()
				}()
			}
		}()
		var all sync.WaitGroup
		var open sync.WaitGroup
		open.Add(n)
		for i := range n {
			all.Go(func() {
				c := p.connect(t)
				c.say("CONNECT echo:7 HTTP/1.1", "Host: echo:7", "")
				head := make([]byte, len(established))
				if _, err := io.ReadFull(c.r, head); err != nil || string(head) != established {
					t.Errorf("tunnel %d: %q, %v", i, head, err)
				}
				open.Done()
				open.Wait() // all are open at once
				go func() {
					fmt.Fprintf(c, "hello from %d", i)
					c.closeWrite()
				}()
				if got, err := io.ReadAll(c.r); string(got) != fmt.Sprintf("hello from %d", i) {
					t.Errorf("tunnel %d: %q, %v", i, got, err)
				}
				c.Close()
			})
		}
		all.Wait()
		slow.want("the slow reader gets all as well", big)
	})
}
