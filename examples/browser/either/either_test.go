package either

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/meshnet-go/meshnet/derp"
)

func TestWithTLSAndWithout(t *testing.T) {
	cert, _, err := derp.SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := NewListener(tcp, &tls.Config{Certificates: []tls.Certificate{cert}})
	defer ln.Close()
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				io.Copy(nc, nc)
			}()
		}
	}()
	for name, dial := range map[string]func() (net.Conn, error){
		"without TLS": func() (net.Conn, error) { return net.Dial("tcp", tcp.Addr().String()) },
		"with TLS": func() (net.Conn, error) {
			return tls.Dial("tcp", tcp.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		},
	} {
		nc, err := dial()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		io.WriteString(nc, "hello")
		got := make([]byte, 5)
		if _, err := io.ReadFull(nc, got); err != nil || string(got) != "hello" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		nc.Close()
	}
}
