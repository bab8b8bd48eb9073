package derp

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

const (
	benchPacket = 1280 + 32 // a full packet of the tunnel, and WireGuard's header and tag
	longPacket  = 9000      // what two nodes of ours send through relays
)

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

// newForward returns a function that takes a packet in and writes it out again.
func newForward(tb testing.TB, size int) (forward func()) {
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
	payload := append(to.key.AppendRaw(nil), make([]byte, size)...)
	from := join(&endless{frame: frame(frameSendPacket, string(payload))})
	return func() {
		if _, err := io.ReadFull(from.r, from.head[:headerSize]); err != nil {
			tb.Fatal(err)
		}
		if err := s.do(from, frameSendPacket, len(payload)); err != nil {
			tb.Fatal(err)
		}
		if err := s.drain(&to.destination); err != nil {
			tb.Fatal(err)
		}
	}
}

func BenchmarkForward(b *testing.B) {
	forward := newForward(b, benchPacket)
	b.SetBytes(benchPacket)
	b.ReportAllocs()
	for b.Loop() {
		forward()
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

// BenchmarkRelay has pairs of clients send packets through a relay on loopback
// as fast as they go in. It says how many come out, and what processor time a
// gigabyte takes, of the relay and the clients together.
func BenchmarkRelay(b *testing.B) {
	for _, pairs := range []int{1, 8} {
		b.Run(fmt.Sprintf("pairs=%d", pairs), func(b *testing.B) {
			_, region := loopback(b)
			flood(b, region, pairs)
		})
	}
}

func flood(b *testing.B, region *derpmap.Region, pairs int) {
	var sending, receiving sync.WaitGroup
	var received atomic.Int64
	begin := make(chan struct{})
	for i := range pairs {
		from, to := joinBench(b, region), joinBench(b, region)
		n := b.N / pairs
		if i == 0 {
			n = b.N - n*(pairs-1)
		}
		sending.Go(func() { <-begin; pour(b, from, to.public(), n) })
		receiving.Go(func() { received.Add(drain(to)) })
	}
	b.SetBytes(benchPacket)
	b.ReportAllocs()
	before := cpuSeconds()
	b.ResetTimer()
	close(begin)
	sending.Wait()
	receiving.Wait()
	b.StopTimer()
	n := float64(received.Load())
	b.ReportMetric(100*n/float64(b.N), "%received")
	b.ReportMetric(n/b.Elapsed().Seconds(), "received/s")
	b.ReportMetric((cpuSeconds()-before)/(n*benchPacket/1e9), "cpu-s/GB")
}

func joinBench(b *testing.B, region *derpmap.Region) member {
	b.Helper()
	priv := key.NewNode()
	c, err := Dial(b.Context(), DialConfig{Key: priv, Region: region})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return member{c, priv}
}

const lastPacket = "the last one"

// pour sends n packets, and one that says that they were all.
func pour(b *testing.B, from member, to key.NodePublic, n int) {
	packet := make([]byte, benchPacket)
	for range n {
		if err := from.Send(to, packet); err != nil {
			b.Error(err)
			return
		}
	}
	from.Send(to, []byte(lastPacket))
	from.Flush()
}

// drain counts what comes before the last packet.
func drain(to member) (n int64) {
	for {
		f, err := to.Recv()
		if err != nil || f.Type == FrameRecvPacket && string(f.Data) == lastPacket {
			return n
		}
		n++
	}
}

// BenchmarkIdleClient says what memory a relay holds for a client that says
// nothing, the stack of its goroutine included. The clients are in another
// process.
func BenchmarkIdleClient(b *testing.B) {
	s, region := loopback(b)
	before := memory()
	b.ResetTimer()
	relay := region.Nodes[0]
	clients := exec.Command(os.Args[0], "-test.run=^TestIdleClients$", "-idle.clients", fmt.Sprint(b.N),
		"-idle.port", fmt.Sprint(relay.DERPPort), "-idle.cert", relay.CertName)
	stdin, err := clients.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := clients.Start(); err != nil {
		b.Fatal(err)
	}
	awaitIdle(b, s, b.N)
	b.ReportMetric(float64(memory()-before)/float64(b.N), "B/client")
	stdin.Close()
	if err := clients.Wait(); err != nil {
		b.Error(err)
	}
}

// memory returns what is in use of the heap and of stacks.
func memory() uint64 {
	for range 3 { // pools need two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// awaitIdle waits until there are n clients, and no writer is left.
func awaitIdle(b *testing.B, s *Server, n int) {
	b.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 600 {
		<-tick.C
		idle := 0
		for _, c := range s.registry.sessions() {
			c.out.mu.Lock()
			if !c.out.writing {
				idle++
			}
			c.out.mu.Unlock()
		}
		if idle == n {
			return
		}
	}
	b.Fatalf("not all of %d clients are idle after a minute", n)
}

var (
	idleClients = flag.Int("idle.clients", 0, "for BenchmarkIdleClient: how many")
	idlePort    = flag.Int("idle.port", 0, "for BenchmarkIdleClient: of the relay")
	idleCert    = flag.String("idle.cert", "", "for BenchmarkIdleClient: the relay's CertName")
)

// TestIdleClients is the other process of BenchmarkIdleClient.
func TestIdleClients(t *testing.T) {
	region := &derpmap.Region{Nodes: []*derpmap.Node{{HostName: "127.0.0.1", DERPPort: *idlePort, CertName: *idleCert}}}
	for range *idleClients {
		c, err := Dial(t.Context(), DialConfig{Key: key.NewNode(), Region: region})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if *idleClients > 0 {
		io.Copy(io.Discard, os.Stdin) // until the benchmark has seen enough
	}
}
