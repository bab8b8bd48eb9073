package derp

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/meshnet-go/meshnet/key"
)

func (r *relay) joinByWebSocket(t testing.TB) member {
	t.Helper()
	priv := key.NewNode()
	cfg := r.dialConfig(priv)
	cfg.WebSocket = true
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatalf("a client joins by WebSocket: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return member{c, priv}
}

func TestWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		a, b := r.join(t), r.joinByWebSocket(t)
		a.send(t, b, "hello")
		b.wantPacket(t, "a packet arrives by WebSocket", a, "hello")
		large := strings.Repeat("x", MaxPacketSize)
		b.send(t, a, large)
		a.wantPacket(t, "a large one comes by WebSocket", b, large)
		for range 100 {
			b.Send(a.public(), []byte("many"))
		}
		b.Flush()
		for range 100 {
			a.wantPacket(t, "many come in one message", b, "many")
		}
		b.Close()
		a.wantGone(t, "its end is noticed", b.public(), PeerGoneDisconnected)
	})
}

func TestWebSocketServerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		a := r.joinByWebSocket(t)
		start := time.Now()
		r.Close()
		if _, err := a.Recv(); err == nil {
			t.Error("Recv goes on after the relay closed")
		}
		if time.Since(start) > 0 {
			t.Errorf("that took %v", time.Since(start))
		}
	})
}

func TestWebSocketSilentClientsAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		cfg := r.dialConfig(key.NewNode())
		cfg.WebSocket = true
		a := attempt{DialConfig: cfg, node: r.node, last: true}
		start := time.Now()
		_, err := secured(t.Context(), &a, func(conn *tls.Conn) (stream, error) {
			st, err := a.upgradeToWebSocket(t.Context(), conn)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, st.nc)
			return st, st.nc.Close()
		})
		if d := time.Since(start); d != handshakeTimeout {
			t.Errorf("a client that does not log in is let go after %v (%v)", d, err)
		}
	})
}

// A server that has WebSockets but knows nothing of relays.
func TestDialAnotherWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelayOf(t, NewServer(ServerConfig{}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, nil)
			if err == nil {
				ws.CloseNow()
			}
		}))
		cfg := r.dialConfig(key.NewNode())
		cfg.WebSocket = true
		if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "none for") {
			t.Errorf("Dial: %v", err)
		}
	})
}

func TestWebSocketText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		r := newRelayOf(t, NewServer(ServerConfig{}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}})
			if err == nil {
				ws.Write(context.Background(), websocket.MessageText, []byte("no frame"))
				ws.CloseNow()
			}
			ended <- err
		}))
		cfg := r.dialConfig(key.NewNode())
		cfg.WebSocket = true
		if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "text") {
			t.Errorf("Dial: %v", err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
