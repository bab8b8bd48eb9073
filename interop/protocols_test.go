package interop

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Programs that know nothing of meshes run over connections of ours, unchanged:
// each test gets a server and a client, once with a direct path between them and
// once with a relay.
func overMesh(t *testing.T, test func(t *testing.T, server, client *meshnetNode)) {
	t.Helper()
	t.Run("direct", func(t *testing.T) {
		n := ourTailnet(t)
		server, client := n.startMeshnet(t, "server"), n.startMeshnet(t, "client")
		n.connected(t, server, client)
		test(t, server, client)
	})
	t.Run("relayed", func(t *testing.T) {
		n := ourTailnet(t)
		server, client := n.startRelayed(t, "server"), n.startRelayed(t, "client")
		n.connected(t, server, client)
		test(t, server, client)
	})
}

// echoBody answers with what it is sent.
func echoBody(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).EnableFullDuplex() // HTTP/1 alone needs it
	io.Copy(w, r.Body)
}

// mirrored sends size bytes to url and wants them back.
func mirrored(ctx context.Context, client *http.Client, url string, size int64, proto string) error {
	req, err := http.NewRequestWithContext(ctx, "POST", url, content(size))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.Proto != proto {
		return fmt.Errorf("the answer is in %s", resp.Proto)
	}
	if got, want := sum(resp.Body), sum(content(size)); got != want {
		return fmt.Errorf("the checksum of %d bytes is %s, not %s", size, got, want)
	}
	return nil
}

// mirroredMany does so many times at once.
func mirroredMany(t *testing.T, client *http.Client, url, proto string) {
	t.Helper()
	const requests, size = 50, 100_000
	ctx := within(t, time.Minute)
	errs := make([]error, requests)
	var all sync.WaitGroup
	for i := range requests {
		all.Go(func() { errs[i] = mirrored(ctx, client, url, size, proto) })
	}
	all.Wait()
	for _, err := range errs {
		check(t, "a request is answered", err)
	}
	check(t, "much is carried", mirrored(ctx, client, url, 8<<20, proto))
}

func TestHTTP2OverMesh(t *testing.T) {
	overMesh(t, func(t *testing.T, server, client *meshnetNode) {
		ln, err := server.Listen("tcp", ":443")
		check(t, "the server listens", err)
		var conns atomic.Int32
		web := &http.Server{
			Handler:   http.HandlerFunc(echoBody),
			TLSConfig: &tls.Config{GetCertificate: server.GetCertificate},
			ErrorLog:  log.New(newLog(t, "http.Server"), "", 0),
			ConnState: func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					conns.Add(1)
				}
			},
		}
		t.Cleanup(func() { web.Close() })
		go web.ServeTLS(ln, "", "")
		c := client.HTTPClient()
		t.Cleanup(c.CloseIdleConnections)
		check(t, "a first request is answered", mirrored(within(t, 20*time.Second), c, "https://server/", 1, "HTTP/2.0"))
		mirroredMany(t, c, "https://server/", "HTTP/2.0")
		equal(t, "connections", conns.Load(), int32(1))
	})
}

func TestHTTP3OverMesh(t *testing.T) {
	overMesh(t, func(t *testing.T, server, client *meshnetNode) {
		listening, err := server.ListenPacket("udp", ":443")
		check(t, "the server listens", err)
		web := &http3.Server{Handler: http.HandlerFunc(echoBody), TLSConfig: http3.ConfigureTLSConfig(&tls.Config{GetCertificate: server.GetCertificate})}
		t.Cleanup(func() { listening.Close() })
		t.Cleanup(func() { web.Close() })
		go web.Serve(listening)

		sending, err := client.ListenPacket("udp", ":0")
		check(t, "the client has a socket", err)
		t.Cleanup(func() { sending.Close() })
		roots, err := client.RootCAs(within(t, 10*time.Second))
		check(t, "the client has roots", err)
		transport := &quic.Transport{Conn: sending}
		t.Cleanup(func() { transport.Close() })
		ip, _ := server.IPs()
		c := &http3.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots},
			Dial: func(ctx context.Context, _ string, config *tls.Config, options *quic.Config) (*quic.Conn, error) {
				return transport.Dial(ctx, &net.UDPAddr{IP: ip.AsSlice(), Port: 443}, config, options)
			},
		}
		t.Cleanup(func() { c.Close() })
		mirroredMany(t, &http.Client{Transport: c}, "https://server.mesh.test/", "HTTP/3.0")
	})
}

// mirror is a service with one call that is a stream in both directions, as the
// compiler of protocol buffers would have made it.
var mirror = grpc.ServiceDesc{
	ServiceName: "mesh.Mirror",
	HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{{
		StreamName:    "Look",
		ClientStreams: true,
		ServerStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error {
			for {
				m := new(wrapperspb.BytesValue)
				if err := s.RecvMsg(m); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				if err := s.SendMsg(m); err != nil {
					return err
				}
			}
		},
	}},
}

func TestGRPCOverMesh(t *testing.T) {
	overMesh(t, func(t *testing.T, server, client *meshnetNode) {
		ln, err := server.Listen("tcp", ":50051")
		check(t, "the server listens", err)
		s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{GetCertificate: server.GetCertificate})))
		state := health.NewServer()
		healthpb.RegisterHealthServer(s, state)
		s.RegisterService(&mirror, nil)
		t.Cleanup(s.Stop)
		go s.Serve(ln)

		roots, err := client.RootCAs(within(t, 10*time.Second))
		check(t, "the client has roots", err)
		conn, err := grpc.NewClient("passthrough:///server.mesh.test:50051",
			grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots})),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return client.Dial(ctx, "tcp", addr) }))
		check(t, "the client is made", err)
		t.Cleanup(func() { conn.Close() })

		ctx := within(t, time.Minute)
		answer, err := healthpb.NewHealthClient(conn).Check(ctx, new(healthpb.HealthCheckRequest))
		check(t, "a call is answered", err)
		equal(t, "the health", answer.Status, healthpb.HealthCheckResponse_SERVING)
		watch, err := healthpb.NewHealthClient(conn).Watch(ctx, new(healthpb.HealthCheckRequest))
		check(t, "a stream begins", err)
		for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
			next, err := watch.Recv()
			check(t, "the stream goes on", err)
			equal(t, "the health", next.Status, want)
			state.Shutdown()
		}
		look(ctx, t, conn)
	})
}

// look sends messages of many sizes through a mirror.
func look(ctx context.Context, t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	stream, err := conn.NewStream(ctx, &mirror.Streams[0], "/mesh.Mirror/Look")
	check(t, "a stream in both directions begins", err)
	sent := make(chan error, 1)
	sizes := []int{0, 1, 1000, 1200, 1 << 16, 1 << 20, 3 << 20}
	go func() {
		for _, size := range sizes {
			if err := stream.SendMsg(wrapperspb.Bytes(make([]byte, size))); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	for _, size := range sizes {
		m := new(wrapperspb.BytesValue)
		check(t, "a message comes back", stream.RecvMsg(m))
		equal(t, "its size", len(m.Value), size)
	}
	check(t, "all are sent", <-sent)
	equal(t, "the end", stream.RecvMsg(new(wrapperspb.BytesValue)), io.EOF)
}
