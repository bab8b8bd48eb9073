// Relayload is clients of a relay: those that send each other packets as fast as
// they go in, and those that do nothing.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/wire"
	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

func main() { wire.Main(start) }

func start(c wire.RelayLoad) (any, wire.Verbs, func(), error) {
	l := &load{region: new(derpmap.Region)}
	if err := json.Unmarshal(c.Relay, l.region); err != nil {
		return nil, nil, nil, err
	}
	return nil, wire.Verbs{
		"flood":     wire.Verb(l.flood),
		"delivered": wire.Verb(l.delivered),
		"join":      wire.Verb(l.join),
		"leave":     wire.Verb(l.leave),
	}, func() {}, nil
}

// load is all clients together.
type load struct {
	region   *derpmap.Region
	clients  []*derp.Client
	running  sync.WaitGroup
	received atomic.Int64
}

// connect makes a client.
func (l *load) connect() (*derp.Client, key.NodePublic, error) {
	private := key.NewNode()
	c, err := derp.Dial(context.Background(), derp.DialConfig{Key: private, Region: l.region})
	if err != nil {
		return nil, key.NodePublic{}, fmt.Errorf("connecting to the relay: %w", err)
	}
	l.clients = append(l.clients, c)
	return c, private.Public(), nil
}

// flood has pairs of clients send packets until they leave.
func (l *load) flood(f wire.Flood) (any, error) {
	for range f.Pairs {
		from, _, err := l.connect()
		if err != nil {
			return nil, err
		}
		to, dst, err := l.connect()
		if err != nil {
			return nil, err
		}
		l.running.Go(func() {
			packet := make([]byte, f.Size)
			for from.Send(dst, packet) == nil {
			}
		})
		l.running.Go(func() { l.receive(to) })
	}
	return nil, nil
}

func (l *load) receive(c *derp.Client) {
	for {
		f, err := c.Recv()
		if err != nil {
			return
		}
		if f.Type == derp.FrameRecvPacket {
			l.received.Add(1)
		}
	}
}

func (l *load) delivered(struct{}) (wire.Delivered, error) {
	return wire.Delivered{Packets: l.received.Load(), At: wire.Now()}, nil
}

// join has clients connect that do nothing, and returns when the relay has
// served them all.
func (l *load) join(clients int) (any, error) {
	for range clients {
		c, _, err := l.connect()
		if err != nil {
			return nil, err
		}
		if err := c.Ping([8]byte{1}); err != nil {
			return nil, err
		}
		if err := c.Flush(); err != nil {
			return nil, err
		}
		if err := awaitPong(c); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func awaitPong(c *derp.Client) error {
	late := time.AfterFunc(10*time.Second, func() { c.Close() })
	defer late.Stop()
	for {
		if f, err := c.Recv(); err != nil || f.Type == derp.FramePong {
			return err
		}
	}
}

// leave ends all connections.
func (l *load) leave(struct{}) (any, error) {
	for _, c := range l.clients {
		c.Close()
	}
	l.clients = nil
	l.running.Wait()
	return nil, nil
}
