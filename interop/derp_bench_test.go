package interop

import (
	"crypto/tls"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"tailscale.com/derp/derpserver"
	tskey "tailscale.com/types/key"
	tslogger "tailscale.com/types/logger"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// BenchmarkDERPFlood has pairs of our clients send packets through our relay and
// theirs as fast as they go in, and says how many come out, and what processor
// time a gigabyte of them takes, of the relay and the clients together.
func BenchmarkDERPFlood(b *testing.B) {
	cert, certName, err := derp.SelfSigned(loopback)
	check(b, "the relay has a certificate", err)
	for _, pairs := range []int{1, 8} {
		b.Run(fmt.Sprintf("relay=ours/pairs=%d", pairs), func(b *testing.B) {
			relay := derp.NewServer(derp.ServerConfig{})
			b.Cleanup(func() { relay.Close() })
			cfg := relay.TLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}})
			flood(b, hostRelay(b, relay, cfg, certName, io.Discard), pairs)
		})
		b.Run(fmt.Sprintf("relay=theirs/pairs=%d", pairs), func(b *testing.B) {
			relay := derpserver.New(tskey.NewNode(), tslogger.Discard)
			b.Cleanup(func() { relay.Close() })
			flood(b, hostRelay(b, theirHandler(relay), theirTLS(relay, cert), certName, io.Discard), pairs)
		})
	}
}

func flood(b *testing.B, host *relayHost, pairs int) {
	const size = 1400
	region := &derpmap.Region{Nodes: []*derpmap.Node{{
		HostName: loopback, DERPPort: host.region.Nodes[0].DERPPort, CertName: host.region.Nodes[0].CertName,
	}}}
	join := func() (*derp.Client, key.NodePublic) {
		private := key.NewNode()
		c, err := derp.Dial(b.Context(), derp.DialConfig{Key: private, Region: region})
		check(b, "a client connects", err)
		b.Cleanup(func() { c.Close() })
		return c, private.Public()
	}
	var sending, receiving sync.WaitGroup
	var received atomic.Int64
	begin := make(chan struct{})
	for range pairs {
		from, _ := join()
		to, dst := join()
		sending.Go(func() {
			<-begin
			packet := make([]byte, size)
			for range b.N / pairs {
				check(b, "a packet is sent", from.Send(dst, packet))
			}
			check(b, "the packets are sent", from.Flush())
			to.Close() // their relay loses whichever packet would be the last
		})
		receiving.Go(func() {
			for {
				f, err := to.Recv()
				if err != nil {
					return
				}
				if f.Type == derp.FrameRecvPacket {
					received.Add(1)
				}
			}
		})
	}
	b.SetBytes(size)
	before := processorSeconds()
	b.ResetTimer()
	close(begin)
	sending.Wait()
	b.StopTimer()
	receiving.Wait()
	n := float64(received.Load())
	b.ReportMetric(100*n/float64(b.N), "%received")
	b.ReportMetric(n/b.Elapsed().Seconds(), "received/s")
	b.ReportMetric((processorSeconds()-before)/(n*size/1e9), "cpu-s/GB")
}

// processorSeconds is what this process has taken.
func processorSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
