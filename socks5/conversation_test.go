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
	take := func(b *[]byte, n int) []byte {
		n = min(n, len(*b))
		taken := (*b)[:n]
		*b = (*b)[n:]
		return taken
	}
	say := func(want ...byte) bool {
		if said := take(&got, len(want)); !bytes.Equal(said, want) {
			t.Fatalf("after %x came %x, want %x", sent, said, want)
		}
		return true
	}
	end := func() {
		if len(got) > 0 {
			t.Fatalf("after %x came %x at the end", sent, got)
		}
	}
	defer end()

	rest := sent
	if len(rest) < 2 || rest[0] != 5 || len(rest) < 2+int(rest[1]) {
		return
	}
	methods := take(&rest, 2+int(rest[1]))[2:]
	method := byte(0)
	if password {
		method = 2
	}
	if bytes.IndexByte(methods, method) < 0 {
		say(5, 0xff)
		return
	}
	say(5, method)
	if password {
		right := login("ann", "secret")
		if size, err := loginSize(rest); err != nil || complete(rest[:min(size, len(rest))], loginSize) != nil {
			return
		}
		if !bytes.HasPrefix(rest, right) {
			say(1, 1)
			return
		}
		take(&rest, len(right))
		say(1, 0)
	}
	size, err := requestSize(rest)
	if err == nil && len(rest) < 5 || len(rest) > 0 && rest[0] != 5 {
		return
	}
	if err == nil {
		if size, _ = requestSize(rest[:5]); len(rest) < size {
			return
		}
	}
	if code := byte(0xff); len(got) < 10 || got[0] != 5 || got[2] != 0 {
		t.Fatalf("after %x came %x for a reply", sent, got)
	} else if code = got[1]; code > 8 || err != nil && code != 8 {
		t.Fatalf("after %x came the reply code %d", sent, code)
	} else if code != 0 {
		say(failed(replyCode(code))...)
		return
	}
	command := Command(rest[1])
	data := rest[size:]
	switch command {
	case Connect:
		say(reply(succeeded, boundAt)...)
		say(data...)
	case Bind: // nobody connects
		say(reply(succeeded, ftpAddr)...)
		got = nil // the second reply, when the client still reads
	case Associate:
		got = nil
	default:
		t.Fatalf("after %x the command was served", sent)
	}
}
