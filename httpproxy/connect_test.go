package httpproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestTunnelKeepsHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{})
		client, target := p.tunnel(t, "db:5432")
		client.say("question")
		client.closeWrite()
		target.want("the target hears the client", "question\r\n")
		target.wantEnd("the target hears the client's end")
		target.say("answer")
		client.want("the client still hears the target", "answer\r\n")
		target.Close()
		client.wantEnd("the tunnel ends when both sides have")

		client, target = p.tunnel(t, "db:5432")
		target.closeWrite()
		client.wantEnd("the client hears the target's end")
		client.say("more")
		target.want("the target still hears the client", "more\r\n")
		client.Close()
		target.wantEnd("the tunnel ends when both sides have")
		synctest.Wait()
		for _, want := range []string{"method=CONNECT", "client=client", "target=db:5432", "status=200", "sent=10", "received=8"} {
			if !strings.Contains(p.logs.String(), want) {
				t.Errorf("the log has no %q:\n%s", want, p.logs)
			}
		}
	})
}

func TestDataBehindConnectIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{})
		p.listen(t, "db:5432")
		early := strings.Repeat("early ", 2000)
		client := p.connect(t)
		go client.say("CONNECT db:5432 HTTP/1.1", "Host: db:5432", "", early)
		target := p.accept(t, "db:5432")
		client.wantHead("the tunnel is open", "HTTP/1.1 200 Connection established")
		target.want("all of it arrives", early+"\r\n")
		client.say("late")
		target.want("and what comes after it", "late\r\n")
	})
}

func TestTunnelOfHTTP10(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{})
		p.listen(t, "[2001:db8::1]:443")
		client := p.connect(t)
		client.say("CONNECT [2001:db8::1]:443 HTTP/1.0", "")
		target := p.accept(t, "[2001:db8::1]:443")
		client.wantHead("the tunnel is open", "HTTP/1.1 200 Connection established")
		client.say("hello")
		target.want("the tunnel carries", "hello\r\n")
	})
}

func TestIdleTunnelEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{IdleTimeout: time.Minute})
		client, target := p.tunnel(t, "db:5432")
		<-time.After(50 * time.Second)
		client.say("x")
		target.want("a tunnel in use lives on", "x\r\n")
		begin := time.Now()
		client.wantEnd("an idle tunnel ends")
		target.wantEnd("on both sides")
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("it ended after %v", took)
		}
	})
}

func TestTargetsOfConnect(t *testing.T) {
	for target, sentence := range map[string]string{
		"db":                 "port",
		"db:":                "port",
		"db:0":               "port",
		"db:65536":           "port",
		"db:http":            "",
		":80":                "host:port",
		"/db:80":             "host:port",
		"db:80/path":         "host:port",
		"db:80?":             "host:port",
		"user@db:80":         "host:port",
		"http://db:80":       "",
		"proxy:1080":         "this proxy itself",
		"[::1:80":            "",
		"2001:db8::1:80:443": "",
	} {
		synctest.Test(t, func(t *testing.T) {
			client := start(t, &Server{}).connect(t)
			go client.say("CONNECT "+target+" HTTP/1.1", "Host: db:80", "")
			_, body := client.wantAnswer(target+" is refused", "GET", http.StatusBadRequest)
			if !strings.Contains(body, sentence) {
				t.Errorf("%q is refused with %q", target, body)
			}
			client.wantEnd("what follows is not read as a request")
		})
	}
}

func TestConnectWithABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := start(t, &Server{}).connect(t)
		go io.WriteString(client, "CONNECT db:80 HTTP/1.1\r\nHost: db:80\r\nContent-Length: 5\r\n\r\nhello")
		_, body := client.wantAnswer("it is refused", "GET", http.StatusBadRequest)
		if !strings.Contains(body, "body") {
			t.Errorf("it is refused with %q", body)
		}
	})
}

// Errors of Dial are told to the client by tunnels and forwarded requests
// alike.
func TestErrorsOfDial(t *testing.T) {
	dialError := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for name, test := range map[string]struct {
		err      error
		status   int
		sentence string
	}{
		"refused":             {dialError(syscall.ECONNREFUSED), 502, "cannot reach db:81: it refuses connections to this port\n"},
		"no route to host":    {fmt.Errorf("peer: %w", syscall.EHOSTUNREACH), 502, "cannot reach db:81: it cannot be reached\n"},
		"no route to network": {dialError(syscall.ENETUNREACH), 502, "cannot reach db:81: it cannot be reached\n"},
		"no name":             {&net.DNSError{Err: "secret", IsNotFound: true}, 502, "cannot reach db:81: there is no such name\n"},
		"resolver timeout":    {dialError(&net.DNSError{IsTimeout: true}), 504, "cannot reach db:81: it did not answer in time\n"},
		"timeout":             {dialError(syscall.ETIMEDOUT), 504, "cannot reach db:81: it did not answer in time\n"},
		"anything else":       {errors.New("sign in at https://secret"), 502, "cannot reach db:81: the connection failed\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, &Server{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, test.err }})
				client := p.connect(t)
				client.say("GET http://db:81/ HTTP/1.1", "Host: db:81", "")
				if _, body := client.wantAnswer("a request", "GET", test.status); body != test.sentence {
					t.Errorf("a request is answered with %q", body)
				}
				client.say("CONNECT db:81 HTTP/1.1", "Host: db:81", "")
				if _, body := client.wantAnswer("a tunnel", "GET", test.status); body != test.sentence {
					t.Errorf("a tunnel is answered with %q", body)
				}
				client.wantEnd("a tunnel that failed ends the connection")
				synctest.Wait()
				if want := fmt.Sprintf("err=%q", test.err.Error()); !strings.Contains(strings.ReplaceAll(p.logs.String(), `"`, ""), strings.ReplaceAll(want, `"`, "")) {
					t.Errorf("the log does not have the error:\n%s", p.logs)
				}
			})
		})
	}
}

func TestDialIsBounded(t *testing.T) {
	for _, request := range []string{"CONNECT db:80", "GET http://db/"} {
		synctest.Test(t, func(t *testing.T) {
			var left time.Time
			client := start(t, &Server{
				DialTimeout: 7 * time.Second,
				Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					<-ctx.Done()
					left = time.Now()
					return nil, ctx.Err()
				},
			}).connect(t)
			begin := time.Now()
			client.say(request+" HTTP/1.1", "Host: db", "")
			client.wantAnswer("a dial that hangs is a timeout", "GET", http.StatusGatewayTimeout)
			if took := left.Sub(begin); took != 7*time.Second {
				t.Errorf("%s: Dial was left after %v", request, took)
			}
		})
	}
}

func TestDialEndsWithTheClient(t *testing.T) {
	for _, request := range []string{"CONNECT db:80", "GET http://db/"} {
		synctest.Test(t, func(t *testing.T) {
			dialing, left := make(chan struct{}), make(chan struct{})
			client := start(t, &Server{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				close(dialing)
				<-ctx.Done()
				close(left)
				return nil, ctx.Err()
			}}).connect(t)
			client.say(request+" HTTP/1.1", "Host: db", "")
			<-dialing
			begin := time.Now()
			client.Close()
			<-left
			if time.Since(begin) > 0 {
				t.Errorf("%s: Dial went on without its client", request)
			}
		})
	}
}
