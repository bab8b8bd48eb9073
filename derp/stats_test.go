package derp

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, ServerConfig{MaxConns: 2})
		a := r.join(t)
		<-time.After(time.Second)
		b := r.join(t)
		if _, err := Dial(t.Context(), r.dialConfig(key.NewNode())); err == nil {
			t.Error("a third client is in")
		}
		a.SetPreferred(true)
		a.send(t, b, "hello")
		b.wantPacket(t, "the packet arrives", a, "hello")
		a.sendKey(t, key.NewNode().Public(), "to nobody")
		a.wantSilence(t, "nobody is not there")
		synctest.Wait()

		want := Stats{Connections: 2, Clients: 2, Home: 1, Refused: 1, Traffic: Traffic{
			PacketsIn: 3, BytesIn: 5 + 9 + 4, PacketsOut: 2, BytesOut: 5 + 4, Unreachable: 1,
		}}
		if st := r.Stats(); st != want {
			t.Errorf("figures: %+v\nwant %+v", st, want)
		}
		clients := r.Clients()
		if len(clients) != 2 || clients[0].Key != a.public() || !clients[0].Home || !clients[0].Live || clients[0].Flags != PeerRegular ||
			clients[0].Traffic != (Traffic{PacketsIn: 3, BytesIn: 18, PacketsOut: 1, BytesOut: 4, Unreachable: 1}) {
			t.Errorf("clients: %+v", clients)
		}

		a.Close()
		b.Close()
		synctest.Wait()
		want.Connections, want.Clients, want.Home = 0, 0, 0
		if st := r.Stats(); st != want {
			t.Errorf("figures when all have left: %+v\nwant %+v", st, want)
		}
	})
}
