package derp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

// frame returns a frame's bytes.
func frame(typ FrameType, payload string) []byte {
	return append(appendHeader(nil, typ, len(payload)), payload...)
}

// hostile is the relay's end of a connection, for tests to say what they like.
type hostile struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

// say writes while nobody need read.
func (h hostile) say(frames ...[]byte) {
	go h.nc.Write(bytes.Join(frames, nil))
}

// hear expects a frame.
func (h hostile) hear(what string, want FrameType) []byte {
	h.t.Helper()
	payload, err := readPayload(h.r, want, maxFrameSize)
	if err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
	return payload
}

// logIn connects a client to a relay that describes itself by info.
func logIn(t *testing.T, info serverInfo) (member, hostile) {
	t.Helper()
	here, there := net.Pipe()
	h := hostile{t, there, bufio.NewReader(there)}
	t.Cleanup(func() { there.Close() })
	server, priv := key.NewNode(), key.NewNode()
	go func() {
		w := bufio.NewWriter(there)
		sendServerKey(w, server.Public())
		if _, err := readClientInfo(h.r, server, MeshKey{}); err != nil {
			t.Errorf("the client logs in: %v", err)
		}
		text, _ := json.Marshal(info)
		there.Write(frame(frameServerInfo, string(server.SealTo(priv.Public(), text))))
	}()
	c, err := newClient(newStream(here, here), priv, MeshKey{})
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return member{c, priv}, h
}

func TestClientHears(t *testing.T) {
	peer := key.NewNode().Public()
	is := func(want Frame) func(Frame) bool {
		return func(f Frame) bool {
			return f.Type == want.Type && f.Peer == want.Peer && bytes.Equal(f.Data, want.Data) &&
				f.Addr == want.Addr && f.Flags == want.Flags && f.Reason == want.Reason && f.ReconnectIn == want.ReconnectIn && f.TryFor == want.TryFor
		}
	}
	raw := string(peer.AppendRaw(nil))
	tests := []struct {
		name  string
		frame []byte
		want  Frame // none: the client passes over it
	}{
		{"packet", frame(FrameRecvPacket, raw+"hi"), Frame{Type: FrameRecvPacket, Peer: peer, Data: []byte("hi")}},
		{"empty packet", frame(FrameRecvPacket, raw), Frame{Type: FrameRecvPacket, Peer: peer}},
		{"largest packet", frame(FrameRecvPacket, raw+strings.Repeat("x", MaxPacketSize)),
			Frame{Type: FrameRecvPacket, Peer: peer, Data: bytes.Repeat([]byte("x"), MaxPacketSize)}},
		{"packet that is too large", frame(FrameRecvPacket, raw+strings.Repeat("x", MaxPacketSize+1)), Frame{}},
		{"packet without a whole key", frame(FrameRecvPacket, raw[:31]), Frame{}},
		{"keep-alive", frame(FrameKeepAlive, ""), Frame{Type: FrameKeepAlive}},
		{"peer gone", frame(FramePeerGone, raw+"\x01"), Frame{Type: FramePeerGone, Peer: peer, Reason: PeerGoneNotHere}},
		{"peer gone, of old", frame(FramePeerGone, raw), Frame{Type: FramePeerGone, Peer: peer}},
		{"peer gone, of the future", frame(FramePeerGone, raw+"\x01more"), Frame{Type: FramePeerGone, Peer: peer, Reason: PeerGoneNotHere}},
		{"peer gone, short", frame(FramePeerGone, "short"), Frame{}},
		{"peer present", appendPresent(nil, peer, netip.MustParseAddrPort("192.0.2.1:7"), PeerRegular|PeerNotIdeal),
			Frame{Type: FramePeerPresent, Peer: peer, Addr: netip.MustParseAddrPort("192.0.2.1:7"), Flags: PeerRegular | PeerNotIdeal}},
		{"peer present, somewhere", appendPresent(nil, peer, netip.AddrPort{}, PeerRelay), Frame{Type: FramePeerPresent, Peer: peer, Flags: PeerRelay}},
		{"peer present, of old", frame(FramePeerPresent, raw), Frame{Type: FramePeerPresent, Peer: peer}},
		{"peer present, short", frame(FramePeerPresent, raw[:31]), Frame{}},
		{"pong", frame(FramePong, "12345678"), Frame{Type: FramePong, Data: []byte("12345678")}},
		{"short pong", frame(FramePong, "1234567"), Frame{}},
		{"problem", frame(FrameHealth, "no good"), Frame{Type: FrameHealth, Data: []byte("no good")}},
		{"no problem", frame(FrameHealth, ""), Frame{Type: FrameHealth}},
		{"restarting", frame(FrameRestarting, "\x00\x00\x03\xe8\x00\x00\x13\x88"),
			Frame{Type: FrameRestarting, ReconnectIn: time.Second, TryFor: 5 * time.Second}},
		{"restarting, short", frame(FrameRestarting, "\x00\x00\x03\xe8\x00\x00\x13"), Frame{}},
		{"unknown", frame(0x77, strings.Repeat("x", maxFrameSize)), Frame{}},
		{"short ping", frame(framePing, "1234567"), Frame{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, relay := logIn(t, serverInfo{})
				relay.say(test.frame, frame(FrameHealth, "end"))
				if test.want.Type != 0 {
					c.want(t, "the frame", is(test.want))
				}
				c.want(t, "what follows", is(Frame{Type: FrameHealth, Data: []byte("end")}))
			})
		})
	}
}

func TestClientAnswersPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, relay := logIn(t, serverInfo{})
		relay.say(frame(framePing, "12345678 and more"))
		go c.Recv()
		if data := relay.hear("the client answers", FramePong); string(data) != "12345678" {
			t.Errorf("pong: %q", data)
		}
	})
}

func TestClientRefusesHugeFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, relay := logIn(t, serverInfo{})
		relay.say(appendHeader(nil, 0x77, maxFrameSize+1))
		if _, err := c.Recv(); err == nil {
			t.Error("a frame of more than a mebibyte is read")
		}
	})
}

func TestClientNoticesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := logIn(t, serverInfo{})
		start := time.Now()
		_, err := c.Recv()
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != clientReadTimeout {
			t.Errorf("Recv ended after %v with %v", time.Since(start), err)
		}
	})
}

func TestClientDoesNotWaitForARelayThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := logIn(t, serverInfo{})
		c.Send(key.NewNode().Public(), []byte("packet"))
		start := time.Now()
		err := c.Flush()
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != clientWriteTimeout {
			t.Errorf("Flush ended after %v with %v", time.Since(start), err)
		}
		if _, err := c.Recv(); err == nil {
			t.Error("Recv goes on on a connection that cannot be written to")
		}
	})
}

func TestClientKeepsToTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond = 10_000
		c, relay := logIn(t, serverInfo{TokenBucketBytesPerSecond: perSecond, TokenBucketBytesBurst: 70_000})
		got := 0
		go func() {
			for {
				payload, err := readPayload(relay.r, frameSendPacket, maxFrameSize)
				if err != nil {
					return
				}
				got += headerSize + len(payload)
			}
		}()
		packet := make([]byte, 1000-headerSize-key.Size)
		send := func(n int) {
			for range n {
				if err := c.Send(key.NewNode().Public(), packet); err != nil {
					t.Fatal(err)
				}
			}
			c.Flush()
			synctest.Wait()
		}
		send(200)
		if got != 70_000 {
			t.Errorf("%d bytes were sent at once", got)
		}
		<-time.After(2 * time.Second)
		send(200)
		if got != 70_000+2*perSecond {
			t.Errorf("%d bytes were sent within two seconds", got)
		}
	})
}

func TestClientClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := logIn(t, serverInfo{})
		recv := make(chan error)
		go func() {
			_, err := c.Recv()
			recv <- err
		}()
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
		for name, err := range map[string]error{
			"Recv": <-recv, "Ping": c.Ping([8]byte{}), "SetPreferred": c.SetPreferred(true),
		} {
			if err != net.ErrClosed {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
	})
}

func TestBadGreetings(t *testing.T) {
	server, priv := key.NewNode(), key.NewNode()
	greeting := frame(frameServerKey, string(server.Public().AppendRaw([]byte(magic))))
	info := func(by key.NodePrivate, text string) []byte {
		return frame(frameServerInfo, string(by.SealTo(priv.Public(), []byte(text))))
	}
	for name, test := range map[string]struct {
		say [][]byte
		ok  bool
	}{
		"good":                {[][]byte{greeting, info(server, "{}")}, true},
		"of the future":       {[][]byte{frame(frameServerKey, string(server.Public().AppendRaw([]byte(magic)))+"more"), info(server, `{"x":1}`)}, true},
		"other frames before": {[][]byte{greeting, frame(0x77, "?"), info(server, "{}")}, true},
		"nothing":             {nil, false},
		"another frame first": {[][]byte{frame(FrameKeepAlive, "")}, false},
		"another protocol":    {[][]byte{[]byte("SSH-2.0-OpenSSH_9.2\r\n")}, false},
		"other magic":         {[][]byte{frame(frameServerKey, strings.Repeat("x", 40))}, false},
		"short key":           {[][]byte{frame(frameServerKey, magic+strings.Repeat("x", 31))}, false},
		"too long":            {[][]byte{frame(frameServerKey, magic+strings.Repeat("x", maxServerKey))}, false},
		"another's key":       {[][]byte{greeting, info(key.NewNode(), "{}")}, false},
		"not JSON":            {[][]byte{greeting, info(server, "]")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				defer here.Close()
				go func() {
					there.Write(bytes.Join(test.say, nil))
					there.Close()
				}()
				_, err := newClient(stream{nc: here, r: bufio.NewReader(here), w: bufio.NewWriter(io.Discard)}, priv, MeshKey{})
				if (err == nil) != test.ok {
					t.Errorf("log in: %v", err)
				}
			})
		})
	}
}

func FuzzParseFrame(f *testing.F) {
	peer := string(key.NewNode().Public().AppendRaw(nil))
	for _, b := range [][]byte{
		frame(FrameRecvPacket, peer+"packet"), frame(FramePeerGone, peer+"\x01"), frame(FramePong, "12345678"),
		frame(FrameRestarting, "12345678"), frame(FrameHealth, "text"), frame(FrameKeepAlive, ""), frame(0x77, ""),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		typ, size, err := readHeader(r, maxFrameSize)
		if err != nil {
			return
		}
		if want := int(binary.BigEndian.Uint32(b[1:])); size != want || size > maxFrameSize {
			t.Fatalf("%x announces %d bytes", b, size)
		}
		payload := b[headerSize:]
		frame, known, err := parseFrame(typ, payload)
		if known && err == nil && len(frame.Data) > len(payload) {
			t.Errorf("%x has data of %d bytes", b, len(frame.Data))
		}
	})
}

func FuzzLogin(f *testing.F) {
	server, client := key.NewNode(), key.NewNode()
	f.Add(append(client.Public().AppendRaw(nil), client.SealTo(server.Public(), []byte(`{"version":2}`))...))
	f.Add(client.Public().AppendRaw([]byte(magic)))
	f.Add(server.SealTo(client.Public(), []byte(`{"version":2}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseServerKey(b)
		parseServerInfo(b, client, server.Public())
		h, err := parseClientInfo(b, server, MeshKey{})
		if err == nil && (h.trusted || h.key.IsZero() || !bytes.Equal(h.key.AppendRaw(nil), b[:32])) {
			t.Errorf("%x logged in as %+v", b, h)
		}
	})
}

// FuzzServer gives a relay whatever a client can say after its login, one who
// knows the mesh key too.
func FuzzServer(f *testing.F) {
	peer := string(key.NewNode().Public().AppendRaw(nil))
	f.Add(frame(frameSendPacket, peer+"packet"))
	f.Add(bytes.Join([][]byte{frame(framePing, "12345678"), frame(frameNotePreferred, "\x01"), frame(0x77, "?")}, nil))
	f.Add(bytes.Join([][]byte{frame(frameWatchConns, ""), frame(frameForwardPacket, peer+peer+"packet"), frame(frameClosePeer, peer)}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, trusted := range []bool{false, true} {
			s := NewServer(ServerConfig{})
			nc, _ := net.Pipe()
			c := s.newSession(hello{key: key.NewNode().Public(), trusted: trusted}, nc, bufio.NewReader(bytes.NewReader(b)))
			c.conn = discard{}
			s.join(c)
			if err := s.read(t.Context(), c); err == nil {
				t.Error("reading ended without an error")
			}
			s.leave(c)
		}
	})
}

// discard is where a writer's frames are not needed.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }
func (discard) CloseWrite() error           { return nil }
