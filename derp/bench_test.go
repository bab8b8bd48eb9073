package derp

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"testing"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

const benchPacket = 1280 + 32 // a full packet of the tunnel, and WireGuard's header and tag

func BenchmarkClientSend(b *testing.B) {
	c := &Client{w: bufio.NewWriterSize(io.Discard, clientBuffer)}
	dst, packet := key.NewNode().Public(), make([]byte, benchPacket)
	b.SetBytes(benchPacket)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Send(dst, packet); err != nil {
			b.Fatal(err)
		}
	}
}

// endless repeats a frame for ever.
type endless struct {
	frame []byte
	at    int
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		k := copy(p[n:], e.frame[e.at:])
		n += k
		e.at = (e.at + k) % len(e.frame)
	}
	return n, nil
}

func BenchmarkClientRecv(b *testing.B) {
	payload := key.NewNode().Public().AppendRaw(nil)
	payload = append(payload, make([]byte, benchPacket)...)
	c := &Client{r: bufio.NewReaderSize(&endless{frame: frame(FrameRecvPacket, string(payload))}, clientBuffer)}
	b.SetBytes(benchPacket)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Recv(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkForward takes a packet in and writes it out again.
func BenchmarkForward(b *testing.B) {
	s := NewServer(ServerConfig{})
	join := func(r io.Reader) *session {
		nc, _ := net.Pipe()
		c := s.newSession(hello{key: key.NewNode().Public()}, nc, bufio.NewReader(r))
		c.conn = discard{}
		c.out.writing = true // it is us
		s.registry.register(c)
		return c
	}
	to := join(nil)
	payload := append(to.key.AppendRaw(nil), make([]byte, benchPacket)...)
	from := join(&endless{frame: frame(frameSendPacket, string(payload))})
	b.SetBytes(benchPacket)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.ReadFull(from.r, from.head[:headerSize]); err != nil {
			b.Fatal(err)
		}
		if err := s.do(from, frameSendPacket, len(payload)); err != nil {
			b.Fatal(err)
		}
		if err := s.drain(&to.destination); err != nil {
			b.Fatal(err)
		}
	}
}

// loopback serves a relay over TLS and TCP.
func loopback(b *testing.B) (*Server, *derpmap.Region) {
	b.Helper()
	cert, certName, err := SelfSigned("127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	s := NewServer(ServerConfig{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	web := &http.Server{
		Handler:   s,
		TLSConfig: s.TLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}}),
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	served := make(chan error)
	go func() { served <- web.ServeTLS(l, "", "") }()
	b.Cleanup(func() {
		web.Close()
		s.Close()
		<-served
	})
	return s, &derpmap.Region{Nodes: []*derpmap.Node{{
		HostName: "127.0.0.1", DERPPort: l.Addr().(*net.TCPAddr).Port, CertName: certName,
	}}}
}

// BenchmarkRelay sends packets through a relay on loopback as fast as they go
// in, and says how many come out.
func BenchmarkRelay(b *testing.B) {
	_, region := loopback(b)
	from, err := Dial(b.Context(), DialConfig{Key: key.NewNode(), Region: region})
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	priv := key.NewNode()
	to, err := Dial(b.Context(), DialConfig{Key: priv, Region: region})
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()

	last := []byte("the last one")
	received := make(chan int)
	go func() {
		n := 0
		for {
			f, err := to.Recv()
			if err != nil || f.Type == FrameRecvPacket && bytes.Equal(f.Data, last) {
				received <- n
				return
			}
			n++
		}
	}()
	dst, packet := priv.Public(), make([]byte, benchPacket)
	b.SetBytes(benchPacket)
	b.ReportAllocs()
	for b.Loop() {
		if err := from.Send(dst, packet); err != nil {
			b.Fatal(err)
		}
	}
	from.Send(dst, last)
	from.Flush()
	b.ReportMetric(100*float64(<-received)/float64(b.N), "%received")
}

// BenchmarkIdleClient says what memory a relay holds for a client that says
// nothing; its two goroutines' stacks included, the client's end not.
func BenchmarkIdleClient(b *testing.B) {
	_, region := loopback(b)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	for range b.N {
		c, err := Dial(b.Context(), DialConfig{Key: key.NewNode(), Region: region})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		c.r, c.w = nil, nil // the client's buffers
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc+after.StackInuse-before.StackInuse)/float64(b.N), "B/client")
}
