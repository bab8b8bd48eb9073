package coord

import (
	"encoding/base64"
	"io"
	"net"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/noise"
	"github.com/meshnet-go/meshnet/internal/wsconn"
)

// openWebSocket opens a WebSocket with an initiation in its query, as browsers do.
func (ts *testServer) openWebSocket(t *testing.T, initiation []byte) net.Conn {
	t.Helper()
	nc, err := ts.dial()
	if err != nil {
		t.Fatal(err)
	}
	query := url.Values{handshakeHeader: {base64.StdEncoding.EncodeToString(initiation)}}
	ws, err := wsconn.Upgrade(t.Context(), nc, "ws://coord/ts2021?"+query.Encode(), upgradeProtocol, 4<<10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return ws
}

func TestMachineInABrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		m := ts.machine()
		m.webSocket = true
		m.join("page", ts.reusable(AuthKeyOptions{}))
		s := m.stream("")
		s.frame("the first frame")
		ts.Close()
		s.wantEnd("closed")
	})
}

func TestWebSocketWithoutNoise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		start := time.Now()
		ws := ts.openWebSocket(t, make([]byte, 102))
		text, _ := io.ReadAll(ws)
		if len(text) > 200 || time.Since(start) > handshakeTimeout {
			t.Errorf("the stream is %q, and ended after %v", text, time.Since(start))
		}
	})
}

func TestWebSocketThatSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		i, err := noise.Initiate(ts.machine().key, ts.PublicKey(), 130)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		io.Copy(io.Discard, ts.openWebSocket(t, i.Message))
		if d := time.Since(start); d > handshakeTimeout {
			t.Errorf("it is kept for %v", d)
		}
		synctest.Wait()
		if c := &ts.Server.conns; c.total != 0 {
			t.Errorf("%d connections are still counted", c.total)
		}
	})
}
