package httpproxy

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzConversation lets a client and a target say anything.
func FuzzConversation(f *testing.F) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	auth := basic("me:pw") + "\r\n"
	for _, client := range []string{
		"", "\x04\x01", "\x05\x01\x00", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://web/a|b?c HTTP/1.1\r\nHost: web\r\n" + auth + "\r\n",
		"GET http://web/ HTTP/1.1\r\nHost: web\r\n" + auth + "\r\nGET http://web/ HTTP/1.0\r\n\r\n",
		"POST http://web/ HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n" + auth + "\r\nabc",
		"POST http://web/ HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n" + auth + "\r\n3\r\nabc\r\n0\r\n\r\n",
		"PUT http://web/ HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 3\r\n" + auth + "\r\nabc",
		"GET http://web/ HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: x\r\n" + auth + "\r\nabc",
		"CONNECT web:80 HTTP/1.1\r\n" + auth + "\r\nabc",
		"CONNECT [::1%25x]:80 HTTP/1.1\r\n" + auth + "\r\n",
		"OPTIONS http://web HTTP/1.1\r\nHost: web\r\n" + auth + "\r\n",
	} {
		for _, target := range []string{
			"", ok, "garbage", "HTTP/1.1 099 x\r\n\r\n",
			"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + ok,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n1\r\na\r\n0\r\nA: b\r\n\r\n",
			"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nxyz",
		} {
			f.Add([]byte(client), []byte(target))
		}
	}
	f.Fuzz(func(t *testing.T, client, target []byte) {
		synctest.Test(t, func(t *testing.T) { converse(t, client, target) })
	})
}

func converse(t *testing.T, client, target []byte) {
	p := start(t, &Server{
		Auth:        only("me", "pw"),
		IdleTimeout: time.Minute,
		SOCKS:       func(_ context.Context, c net.Conn) { io.Copy(c, c) },
		Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" || network != "tcp" {
				t.Errorf("Dial was called with %q %q", network, address)
			}
			if strings.ContainsAny(address, " \r\n\t\x00/@") {
				t.Errorf("Dial was called with %q", address)
			}
			near, far := memPipe("proxy", "target")
			go func() {
				far.Read(make([]byte, 1)) // a target that speaks first makes net/http write to the standard log
				go io.Copy(io.Discard, far)
				far.Write(target)
				far.CloseWrite()
			}()
			return near, nil
		},
	})
	c := p.connect(t)
	go func() {
		c.Write(client)
		c.closeWrite()
	}()
	answer, _ := io.ReadAll(c.r) // ends, or synctest finds a deadlock
	socks := len(client) > 0 && (client[0] == 4 || client[0] == 5)
	switch {
	case socks && !bytes.Equal(answer, client):
		t.Errorf("SOCKS got %q of %q", answer, client)
	case !socks && len(answer) > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.")):
		t.Errorf("the answer is %q", answer)
	}
	if logs := p.logs.String(); strings.Contains(logs, "panic") {
		t.Errorf("it panics:\n%s", logs)
	}
}

func FuzzCredentials(f *testing.F) {
	for _, s := range []string{"", "Basic", "Basic bWU6cHc=", "basic bWU6cHc=", "Basic bWU=", "Basic OjpfOg==", "Basic \n", "Bearer x", "Basic 6Q=="} {
		f.Add(s, "user", "pass:word")
	}
	f.Fuzz(func(t *testing.T, header, user, password string) {
		credentials(http.Header{"Proxy-Authorization": {header}})
		if strings.Contains(user, ":") {
			return // it cannot be said in Basic
		}
		encoded := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
		u, p, ok := credentials(http.Header{"Proxy-Authorization": {"Basic " + encoded}})
		if !ok || u != user || p != password {
			t.Errorf("%q and %q became %q and %q, %v", user, password, u, p, ok)
		}
	})
}
