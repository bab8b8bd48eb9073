package socks5

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
)

// FuzzConversation plays a client that says anything and leaves. The Server
// must end with it, and what it says must be SOCKS5.
func FuzzConversation(f *testing.F) {
	for _, r := range refusals {
		f.Add(r.sent)
	}
	for _, b := range [][]byte{
		whole,
		join(anonymous, request(Connect, "mirror.mesh", 7), []byte("data")),
		join(loggedIn, request(Connect, "fd7a::1", 80), []byte("data")),
		join(loggedIn, request(Bind, "0.0.0.0", 21)),
		join(loggedIn, request(Associate, "0.0.0.0", 0)),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		for _, password := range []bool{false, true} {
			s := fuzzServer()
			if password {
				s.Auth = Credential("ann", "secret")
			}
			checkConversation(t, sent, converse(s, sent), password)
		}
	})
}

func fuzzServer() *Server {
	return &Server{
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return network{"": mirror}.Dial(context.Background(), "tcp", "")
		},
		Listen: func(context.Context, string, string) (net.Listener, error) {
			return listenMem(ftpAddr), nil
		},
		ListenPacket: listenHost,
		Resolve: func(context.Context, string, string) ([]netip.Addr, error) {
			return []netip.Addr{dns1.Addr()}, nil
		},
		Allow: func(_ context.Context, r *Request) error {
			if r.Port == 666 {
				return errors.New("not for you")
			}
			return nil
		},
	}
}

// converse returns what the Server says to a client that sends and then ends.
func converse(s *Server, sent []byte) []byte {
	near, far := memPipe(tcpAddr("127.0.0.1:1"), tcpAddr("127.0.0.1:2"))
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.ServeConn(context.Background(), far)
	}()
	go func() {
		near.Write(sent)
		near.CloseWrite()
	}()
	got, _ := io.ReadAll(near)
	near.Close()
	<-served
	return got
}

// checkConversation knows the protocol by another way than the Server: from the
// whole of what was sent.
func checkConversation(t *testing.T, sent, got []byte, password bool) {
	x := &transcript{t: t, sent: sent, rest: sent, got: got}
	if x.greeting(password) && (!password || x.login()) {
		x.request()
	}
	if len(x.got) > 0 {
		t.Errorf("after %x came %x at the end", sent, x.got)
	}
}

// A transcript is compared message by message. Its methods report whether the
// conversation goes on.
type transcript struct {
	t         *testing.T
	sent      []byte
	rest, got []byte // what is still to be compared
}

// said expects the Server's next bytes.
func (x *transcript) said(want []byte) {
	x.t.Helper()
	got, ok := bytes.CutPrefix(x.got, want)
	if !ok {
		x.t.Fatalf("after %x came %x, want %x", x.sent, x.got, want)
	}
	x.got = got
}

// message takes the client's next message, unless it is cut or malformed.
func (x *transcript) message(size sizeFunc) ([]byte, error) {
	b, err := readMessage(bytes.NewReader(x.rest), make([]byte, maxMessage), size)
	if err == nil {
		x.rest = x.rest[len(b):]
	}
	return b, err
}

func (x *transcript) greeting(password bool) bool {
	b, err := x.message(greetingSize)
	if err != nil {
		return false
	}
	want := []byte{methodNone}
	if password {
		want = []byte{methodPassword}
	}
	if !bytes.Contains(b[2:], want) {
		x.said([]byte{5, 0xff})
		return false
	}
	x.said([]byte{5, want[0]})
	return true
}

func (x *transcript) login() bool {
	b, err := x.message(loginSize)
	if err != nil {
		return false
	}
	right := bytes.Equal(b, login("ann", "secret"))
	if !right {
		x.said([]byte{1, 1})
		return false
	}
	x.said([]byte{1, 0})
	return true
}

func (x *transcript) request() {
	b, err := x.message(requestSize)
	if err != nil && !errors.Is(err, errAddressType) {
		return
	}
	if len(x.got) < 2 {
		x.t.Fatalf("after %x came %x for a reply", x.sent, x.got)
	}
	code := replyCode(x.got[1])
	switch {
	case code > addressTypeUnknown, (code == addressTypeUnknown) != (err != nil):
		x.t.Fatalf("after %x came the code %d, %v", x.sent, code, err)
	case code != succeeded:
		x.said(failed(code))
		return
	}
	switch command := Command(b[1]); command {
	case Connect:
		x.said(join(reply(succeeded, boundAt), x.rest))
	case Bind: // the client leaves before anybody connects
		x.said(reply(succeeded, ftpAddr))
		x.said(failed(generalFailure))
	case Associate:
		x.said(appendReply(nil, succeeded, netip.AddrPort{})[:4])
		x.got = nil // an address of the host's choice
	default:
		x.t.Fatalf("after %x %v was served", x.sent, command)
	}
}
