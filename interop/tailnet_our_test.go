package interop

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// ownTailnet is a tailnet whose coordinator and relay are ours.
type ownTailnet struct {
	tailnet
	config       coord.Config
	current      atomic.Pointer[coord.Server]
	restartRelay func()
}

// ourTailnet starts our coordinator with our relay.
func ourTailnet(t *testing.T) *ownTailnet {
	t.Helper()
	relays, restartRelay := ourRestartingRelay(t)
	return ourTailnetOn(t, relays, restartRelay)
}

// ourTailnetOn starts one with relays that are there.
func ourTailnetOn(t *testing.T, relays *derpmap.Map, restartRelay func()) *ownTailnet {
	t.Helper()
	return ourTailnetWith(t, relays, restartRelay, func(*coord.Config) {})
}

// ourTailnetWith changes the coordinator's configuration first.
func ourTailnetWith(t *testing.T, relays *derpmap.Map, restartRelay func(), adjust func(*coord.Config)) *ownTailnet {
	t.Helper()
	const suffix = "mesh.test"
	n := &ownTailnet{
		config: coord.Config{
			Domain:  suffix,
			DERPMap: relays,
			Store:   coord.NewMemoryStore(),
			Logger:  newLog(t, "coord").slog(),
		},
		restartRelay: restartRelay,
	}
	adjust(&n.config)
	n.restart(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.coord().ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		check(t, "our coordinator closes", n.coord().Close())
		closeServer(web)
	})
	n.tailnet = tailnet{
		kind:       "coord",
		controlURL: web.URL,
		suffix:     suffix,
		authKey:    func(t *testing.T) string { return n.newAuthKey(t, coord.AuthKeyOptions{}) },
	}
	return n
}

func (n *ownTailnet) coord() *coord.Server { return n.current.Load() }

// restart puts another coordinator in the place of the one there is, with what
// that has stored.
func (n *ownTailnet) restart(t *testing.T) {
	t.Helper()
	if old := n.current.Load(); old != nil {
		check(t, "our coordinator closes", old.Close())
	}
	server, err := coord.New(n.config)
	check(t, "our coordinator is made", err)
	n.current.Store(server)
}

func (n *ownTailnet) newAuthKey(t *testing.T, o coord.AuthKeyOptions) string {
	t.Helper()
	authKey, err := n.coord().CreateAuthKey(t.Context(), o)
	check(t, "an auth key is made", err)
	return authKey
}

// known returns what the coordinator knows of the node with that short name.
func (n *ownTailnet) known(host string) (coord.Node, bool) {
	for _, node := range n.coord().Nodes() {
		if shortName(node.Name) == host {
			return node, true
		}
	}
	return coord.Node{}, false
}
