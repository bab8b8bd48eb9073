package interop

import (
	"net/http/httptest"
	"testing"

	"github.com/meshnet-go/meshnet/coord"
)

// ourTailnet starts our coordinator with our relay.
func ourTailnet(t *testing.T) *tailnet {
	t.Helper()
	const suffix = "mesh.test"
	server, err := coord.New(coord.Config{
		Domain:  suffix,
		DERPMap: ourRelay(t),
		Logger:  newLog(t, "coord").slog(),
	})
	check(t, "our coordinator is made", err)
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		check(t, "our coordinator closes", server.Close())
		closeServer(web)
	})
	return &tailnet{
		kind:       "coord",
		controlURL: web.URL,
		suffix:     suffix,
		authKey: func(t *testing.T) string {
			t.Helper()
			authKey, err := server.CreateAuthKey(coord.AuthKeyOptions{})
			check(t, "an auth key is made", err)
			return authKey
		},
		coord: server,
	}
}
