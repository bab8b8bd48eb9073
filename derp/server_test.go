package derp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

func TestPacketsTravelInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		a, b := r.join(t), r.join(t)
		if a.ServerKey() != r.PublicKey() {
			t.Error("the client took another key for the relay's")
		}
		for i := range 20 {
			a.Send(b.public(), fmt.Appendf(nil, "packet %d", i))
		}
		a.Flush()
		for i := range 20 {
			b.wantPacket(t, "packets arrive in order", a, fmt.Sprintf("packet %d", i))
		}
		b.send(t, a, "")
		a.wantPacket(t, "an empty packet arrives", b, "")
		large := strings.Repeat("x", MaxPacketSize)
		b.send(t, a, large)
		a.wantPacket(t, "the largest packet arrives", b, large)
		if err := b.Send(a.public(), make([]byte, MaxPacketSize+1)); err == nil {
			t.Error("a packet was sent that is too large")
		}
	})
}

func TestLeavingIsToldToThoseWhoHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		a, b, c := r.join(t), r.join(t), r.join(t)
		a.send(t, b, "hello")
		b.wantPacket(t, "b hears from a", a, "hello")
		c.send(t, a, "hello")
		a.wantPacket(t, "a hears from c", c, "hello")
		a.Close()
		b.wantGone(t, "b is told that a left", a.public(), PeerGoneDisconnected)
		c.wantSilence(t, "c never heard from a, so is not told")
	})
}

func TestUnknownDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		a, nobody := r.join(t), key.NewNode().Public()
		a.sendKey(t, nobody, "not disco")
		a.wantSilence(t, "packets to nobody vanish")

		for range 10 {
			a.sendKey(t, nobody, disco("ping"))
		}
		for range notHereBurst {
			a.wantGone(t, "disco packets to nobody are answered", nobody, PeerGoneNotHere)
		}
		a.wantSilence(t, "but not all of them")

		<-time.After(time.Second)
		a.sendKey(t, nobody, disco("ping"))
		a.wantGone(t, "a second later they are again", nobody, PeerGoneNotHere)
	})
}

func TestSameKeyTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		a, priv := r.join(t), key.NewNode()
		old := r.joinAs(t, priv)
		a.send(t, old, "1")
		old.wantPacket(t, "the only connection gets the packet", a, "1")

		newest := r.joinAs(t, priv)
		old.want(t, "the older connection is told", isHealth(anotherConnection))
		a.send(t, old, "2")
		newest.wantPacket(t, "the newest connection gets the packet", a, "2")
		old.send(t, a, "3")
		a.wantPacket(t, "the older one stays open and can send", old, "3")
		newest.send(t, a, "4")
		a.wantPacket(t, "so can the newest", newest, "4")

		newest.Close()
		synctest.Wait()
		a.send(t, old, "5")
		old.want(t, "the older one is back when the newest has left", isHealth(""))
		old.wantPacket(t, "and gets the packets", a, "5")
		a.wantSilence(t, "nobody is told that a key left that is still there")

		old.Close()
		a.wantGone(t, "when the last connection ends, that is told", priv.Public(), PeerGoneDisconnected)
	})
}

func isHealth(text string) func(Frame) bool {
	return func(f Frame) bool { return f.Type == FrameHealth && string(f.Data) == text }
}

func TestConnectionsOfAKeyAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		priv := key.NewNode()
		first := r.joinAs(t, priv)
		for range maxConnsPerKey {
			r.joinAs(t, priv)
		}
		if _, err := first.Recv(); err == nil {
			t.Error("the oldest of too many connections is still open")
		}
	})
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		a := r.join(t)
		start := time.Now()
		for i := range 5 {
			f, err := a.Recv()
			if err != nil || f.Type != FrameKeepAlive {
				t.Fatalf("keep-alive %d: %+v, %v", i, f, err)
			}
		}
		if d := time.Since(start); d < 5*keepAlivePeriod || d > 5*(keepAlivePeriod+keepAliveJitter) {
			t.Errorf("five keep-alives came in %v", d)
		}
	})
}

func TestServerAnswersPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		a := r.join(t)
		a.SetPreferred(true)
		a.Ping([8]byte{1, 2, 3})
		a.want(t, "the ping comes back", func(f Frame) bool {
			return f.Type == FramePong && [8]byte(f.Data) == [8]byte{1, 2, 3}
		})
		a.tell(framePing, make([]byte, maxPingSize))
		a.want(t, "a long ping is answered", func(f Frame) bool { return f.Type == FramePong && len(f.Data) == 8 })
	})
}

func TestSilentClientsAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		_, br := r.rawLogin(t)
		start := time.Now()
		if _, err := br.ReadByte(); err == nil {
			t.Error("the relay says something to a client that has not logged in")
		}
		if d := time.Since(start); d != handshakeTimeout {
			t.Errorf("a client that does not log in is let go after %v", d)
		}
	})
}

func TestBadLogins(t *testing.T) {
	priv := key.NewNode()
	info := []byte(`{"version":2}`)
	write := func(typ FrameType, payload []byte) func(w io.Writer, server key.NodePublic) {
		return func(w io.Writer, _ key.NodePublic) {
			w.Write(append(appendHeader(nil, typ, len(payload)), payload...))
		}
	}
	for name, say := range map[string]func(w io.Writer, server key.NodePublic){
		"another frame":    write(frameSendPacket, make([]byte, 100)),
		"a short frame":    write(frameClientInfo, make([]byte, 31)),
		"too long a frame": func(w io.Writer, _ key.NodePublic) { w.Write(appendHeader(nil, frameClientInfo, maxClientInfo+1)) },
		"someone else's key": func(w io.Writer, server key.NodePublic) {
			payload := append(key.NewNode().Public().AppendRaw(nil), priv.SealTo(server, info)...)
			write(frameClientInfo, payload)(w, server)
		},
		"the zero key": func(w io.Writer, server key.NodePublic) {
			payload := append(make([]byte, 32), key.NodePrivate{}.SealTo(server, info)...)
			write(frameClientInfo, payload)(w, server)
		},
		"not JSON": func(w io.Writer, server key.NodePublic) {
			payload := append(priv.Public().AppendRaw(nil), priv.SealTo(server, []byte("{"))...)
			write(frameClientInfo, payload)(w, server)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRelay(t, ServerConfig{})
				nc, br := r.rawLogin(t)
				start := time.Now()
				say(nc, r.PublicKey())
				if _, err := br.ReadByte(); err == nil {
					t.Error("the relay lets the client in")
				}
				if time.Since(start) > 0 {
					t.Error("the relay waited for something")
				}
			})
		})
	}
}

func TestBadFrames(t *testing.T) {
	tests := []struct {
		name  string
		frame []byte
		ends  bool
	}{
		{"unknown type", append(appendHeader(nil, 0x77, 5000), make([]byte, 5000)...), false},
		{"Pong", append(appendHeader(nil, FramePong, 8), make([]byte, 8)...), false},
		{"NotePreferred without a byte", appendHeader(nil, frameNotePreferred, 0), false},
		{"packet to the zero key", append(appendHeader(nil, frameSendPacket, 32), make([]byte, 32)...), false},
		{"packet without a whole key", append(appendHeader(nil, frameSendPacket, 31), make([]byte, 31)...), true},
		{"packet that is too large", appendHeader(nil, frameSendPacket, 32+MaxPacketSize+1), true},
		{"short ping", append(appendHeader(nil, framePing, 7), make([]byte, 7)...), true},
		{"long ping", appendHeader(nil, framePing, maxPingSize+1), true},
		{"huge unknown frame", appendHeader(nil, 0x77, 1<<31), true},
		{"WatchConns", appendHeader(nil, frameWatchConns, 0), true},
		{"ForwardPacket", appendHeader(nil, frameForwardPacket, 64), true},
		{"ClosePeer", appendHeader(nil, frameClosePeer, 32), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRelay(t, ServerConfig{})
				a := r.join(t)
				a.w.Write(test.frame)
				if !test.ends {
					a.wantSilence(t, "the frame is passed over")
					return
				}
				a.Flush()
				if f, err := a.Recv(); err == nil {
					t.Errorf("the connection goes on: %+v", f)
				}
			})
		})
	}
}

func TestAdmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		friend := key.NewNode()
		r := newRelay(t, ServerConfig{Admit: func(_ context.Context, k key.NodePublic, _ netip.AddrPort) error {
			if k != friend.Public() {
				return errors.New("stranger")
			}
			return nil
		}})
		a := r.joinAs(t, friend)
		a.wantSilence(t, "the friend is in")
		if _, err := Dial(t.Context(), r.dialConfig(key.NewNode())); err == nil {
			t.Error("the stranger is in")
		}
	})
}

func TestCloseDoesNotWaitForAdmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{Admit: func(ctx context.Context, _ key.NodePublic, _ netip.AddrPort) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		joined := make(chan error)
		go func() {
			_, err := Dial(t.Context(), r.dialConfig(key.NewNode()))
			joined <- err
		}()
		synctest.Wait()
		start := time.Now()
		r.Close()
		if err := <-joined; err == nil || time.Since(start) > 0 {
			t.Errorf("Close took %v, and Dial ended with %v", time.Since(start), err)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{MaxConns: 1})
		a := r.join(t)
		_, err := Dial(t.Context(), r.dialConfig(key.NewNode()))
		if err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("a second connection: %v", err)
		}
		a.Close()
		synctest.Wait()
		r.join(t)
	})
}

func TestServerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		a := r.join(t)
		_, half := r.rawLogin(t)
		r.Close()
		if _, err := a.Recv(); err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("Recv after the relay closed: %v", err)
		}
		if _, err := half.ReadByte(); err == nil {
			t.Error("a connection that logs in is still open")
		}
		if _, err := Dial(t.Context(), r.dialConfig(key.NewNode())); err == nil {
			t.Error("a closed relay takes clients in")
		}
		r.Close()
	})
}

func TestSlowClientLosesPacketsThenItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{})
		a, slow, quick := r.join(t), r.join(t), r.join(t)
		slow.send(t, a, "hello")
		a.wantPacket(t, "the slow client can send", slow, "hello")
		packet := make([]byte, 1400)
		start := time.Now()
		for range 1000 { // slow reads nothing
			a.Send(slow.public(), packet)
		}
		a.Flush()
		a.send(t, quick, "hello")
		quick.wantPacket(t, "others are not held up", a, "hello")
		if d := time.Since(start); d > maxWait {
			t.Errorf("the sender was held up for %v", d)
		}
		a.wantGone(t, "the slow client is let go", slow.public(), PeerGoneDisconnected)
		if d := time.Since(start); d != serverWriteTimeout {
			t.Errorf("the slow client was let go after %v", d)
		}
	})
}

func TestPlainHTTPIsNotServedUnlessAskedFor(t *testing.T) {
	for _, upgrade := range []string{"DERP", "websocket"} {
		req := httptest.NewRequest("GET", "/derp", nil)
		req.Header.Set("Upgrade", upgrade)
		req.Header.Set("Sec-WebSocket-Protocol", "derp")
		w := httptest.NewRecorder()
		NewServer(ServerConfig{}).ServeHTTP(w, req)
		if w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", upgrade, w.Code)
		}
	}
}

func TestEndpoints(t *testing.T) {
	s := NewServer(ServerConfig{PlainHTTP: true})
	tests := []struct {
		method, path, header string
		status               int
		want                 string // a header of the reply
	}{
		{"GET", "/derp", "", 426, "Upgrade: DERP"},
		{"GET", "/derp", "Upgrade: websocket", 426, ""},
		{"HEAD", "/derp/probe", "", 200, "Access-Control-Allow-Origin: *"},
		{"GET", "/derp/latency-check", "", 200, "Access-Control-Allow-Origin: *"},
		{"POST", "/derp/probe", "", 405, ""},
		{"GET", "/generate_204", "", 204, "X-Tailscale-Response: "},
		{"GET", "/generate_204", "X-Tailscale-Challenge: ts_derp1.example", 204, "X-Tailscale-Response: response ts_derp1.example"},
		{"GET", "/generate_204", "X-Tailscale-Challenge: <b>", 204, "X-Tailscale-Response: "},
		{"GET", "/generate_204", "X-Tailscale-Challenge: " + strings.Repeat("a", 65), 204, "X-Tailscale-Response: "},
		{"GET", "/", "", 404, ""},
	}
	for _, test := range tests {
		req := httptest.NewRequest(test.method, test.path, nil)
		if name, value, ok := strings.Cut(test.header, ": "); ok {
			req.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		name, value, _ := strings.Cut(test.want, ": ")
		if w.Code != test.status || name != "" && w.Header().Get(name) != value {
			t.Errorf("%s %s %s: %d %v", test.method, test.path, test.header, w.Code, w.Header())
		}
	}
}

// The first bytes that clients see are part of the protocol.
func TestUpgradeReply(t *testing.T) {
	s := NewServer(ServerConfig{PlainHTTP: true})
	web := httptest.NewServer(s)
	defer web.Close()
	defer s.Close()
	nc, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprintf(nc, "GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: derp\r\nConnection: Upgrade\r\n\r\n")
	br := bufio.NewReader(nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "DERP" || resp.Header.Get("Derp-Version") != "2" ||
		resp.Header.Get("Derp-Public-Key") != s.PublicKey().Hex() {
		t.Errorf("reply: %s %v", resp.Status, resp.Header)
	}
	greeting := make([]byte, 45)
	io.ReadFull(br, greeting)
	if want := fmt.Sprintf("0100000028%x%s", "DERP🔑", s.PublicKey().Hex()); fmt.Sprintf("%x", greeting) != want {
		t.Errorf("greeting %x, want %s", greeting, want)
	}
}
