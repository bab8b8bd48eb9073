//go:build !js

package wsconn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const ours = "ours"

// serve starts a web server that hands the streams it accepts to use.
func serve(t *testing.T, subprotocol string, use func(net.Conn)) (addr string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, err := Accept(w, r, subprotocol)
		if err != nil {
			return
		}
		defer nc.Close()
		use(nc)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func open(t *testing.T, addr string) (net.Conn, error) {
	t.Helper()
	below, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { below.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return Upgrade(ctx, below, "ws://"+addr, ours, 4<<10)
}

func TestStreamHasNoMessages(t *testing.T) {
	nc, err := open(t, serve(t, ours, func(nc net.Conn) { io.Copy(nc, nc) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sent := bytes.Repeat([]byte("0123456789"), 10*maxMessage/10)
	go nc.Write(sent)
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("what was written comes back otherwise, %v", err)
	}
}

func TestAnotherSubprotocol(t *testing.T) {
	_, err := open(t, serve(t, "theirs", func(net.Conn) {}))
	if _, ok := errors.AsType[*SubprotocolError](err); !ok {
		t.Errorf("Upgrade: %v", err)
	}
}

func TestDeadlineOfTheConnectionBelow(t *testing.T) {
	nc, err := open(t, serve(t, ours, func(nc net.Conn) { io.Copy(io.Discard, nc) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetReadDeadline(time.Unix(1, 0))
	var timeout net.Error
	if _, err := nc.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("Read: %v", err)
	}
}

func TestOffered(t *testing.T) {
	for offered, want := range map[string]bool{
		"ours": true, "chat, ours": true, "oursr": false, "": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Upgrade", "WebSocket")
		r.Header.Set("Sec-WebSocket-Protocol", offered)
		if Offered(r, ours) != want {
			t.Errorf("offered %q: %v", offered, !want)
		}
	}
}
