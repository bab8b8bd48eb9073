package coord

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWaitingIsCheap has a machine that nobody knows wait for approval, many
// times over, with as much to say as requests may hold.
func TestWaitingIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		m := ts.machine()
		url := m.register(request(m.node, "web", "")).AuthURL
		head := `{"Version":130,"NodeKey":"` + m.node.String() + `","Followup":"` + url + `","Hostinfo":{"Services":[{}`
		body := []byte(head + strings.Repeat(",{}", (maxBody-len(head)-10)/3) + `]}}`)
		before := heap()
		for range 30 {
			go func() {
				if resp, err := m.post(t.Context(), "/machine/register", body); err == nil {
					resp.Body.Close()
				}
			}()
			synctest.Wait()
		}
		if grew := heap() - before; grew > 8<<20 {
			t.Errorf("they take %d MiB", grew>>20)
		}
		ts.stop()
	})
}

// TestLongNames has nodes whose names are as long as requests may be.
func TestLongNames(t *testing.T) {
	s := testState()
	before := heap()
	for range 100 {
		s.join(t, strings.Repeat("x", maxBody))
	}
	if grew := heap() - before; grew > 2<<20 {
		t.Errorf("100 nodes take %d KiB", grew>>10)
	}
	runtime.KeepAlive(s)
}

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestConnectionsOfAMachine has one that connects again and again.
func TestConnectionsOfAMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		m := ts.machine()
		var conns []net.Conn
		for range maxConnsPerMachine + 2 {
			conn, err := m.upgrade()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			synctest.Wait() // until it is being served
			conns = append(conns, conn)
		}
		for i, conn := range conns {
			conn.SetReadDeadline(time.Now().Add(time.Second))
			_, err := conn.Read(make([]byte, 1))
			if open := errors.Is(err, os.ErrDeadlineExceeded); open != (i >= 2) {
				t.Errorf("connection %d of %d: %v", i+1, len(conns), err)
			}
		}
	})
}

// TestTooManyHandshakes has as many going on as there may be.
func TestTooManyHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		for range maxHandshakes {
			ts.handshakes <- struct{}{}
		}
		m := ts.machine()
		if _, err := m.upgrade(); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("one more: %v, want that it is refused", err)
		}
		<-ts.handshakes
		m.join("web", ts.reusable(AuthKeyOptions{}))
	})
}

// TestStrangersKeepNobodyOut has as many connections as there may be of
// machines without a node.
func TestStrangersKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		authKey := ts.reusable(AuthKeyOptions{})
		first, second, third := ts.machine(), ts.machine(), ts.machine()
		first.join("first", authKey)
		second.join("second", authKey)
		first.http.CloseIdleConnections()
		synctest.Wait()
		if c := &ts.Server.conns; c.total != 1 || c.strangers != 0 {
			t.Errorf("%d connections, of which %d of strangers; want that of the second machine", c.total, c.strangers)
		}
		ts.Server.conns.strangers += maxStrangers
		defer func() { ts.Server.conns.strangers -= maxStrangers }()
		if _, err := third.post(t.Context(), "/machine/register", request(third.node, "third", authKey)); err == nil {
			t.Error("one more stranger is let in")
		}
		if resp := first.register(request(first.node, "first", "")); !resp.MachineAuthorized {
			t.Errorf("a machine with a node is not let in: %+v", resp)
		}
	})
}

// TestAnswersNobodyTakes has a machine that asks and allows no byte of an
// answer's body to be sent: its requests come to an end nevertheless.
func TestAnswersNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		conn, err := ts.machine().upgrade()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		noWindow := []byte{0, 4, 0, 0, 0, 0} // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113, section 6.5.2)
		asks := append([]byte{0x83, 0x86, 0x01, 1, 'c', 0x04, 2}, "/x"...)
		go func() {
			io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
			writeFrame2(conn, 4, 0, 0, noWindow)
			writeFrame2(conn, 1, 1|4, 1, asks) // the end of the request, and of its headers
		}()
		for start := time.Now(); ; {
			kind, flags, payload, err := readFrame2(conn)
			after := time.Since(start)
			switch {
			case err != nil:
				t.Fatalf("the connection ends after %v: %v", after, err)
			case after > frameTimeout:
				t.Fatalf("a request lives for more than %v", after)
			case kind == 6 && flags == 0: // PING
				go writeFrame2(conn, 6, 1, 0, payload)
			case kind == 3: // RST_STREAM
				return
			}
		}
	})
}

// writeFrame2 writes a frame of HTTP/2.
func writeFrame2(w io.Writer, kind, flags, stream byte, payload []byte) {
	head := []byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, stream}
	w.Write(append(head, payload...))
}

func readFrame2(r io.Reader) (kind, flags byte, payload []byte, err error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, nil, err
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(r, payload)
	return head[3], head[4], payload, err
}
