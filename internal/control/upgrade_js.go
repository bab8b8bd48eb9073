package control

import (
	"context"
	"encoding/base64"
	"net"
	"net/url"

	"github.com/meshnet-go/meshnet/internal/noise"
	"github.com/meshnet-go/meshnet/internal/wsconn"
)

// open makes a Noise connection to the coordinator, whose URL is u, in a
// WebSocket: a browser has nothing else. The initiation is in the query, as
// pages cannot set headers.
func (c *Config) open(ctx context.Context, u *url.URL, _ string, initiation *noise.Initiation) (net.Conn, error) {
	at := *u.JoinPath("ts2021")
	at.Scheme = map[string]string{"http": "ws", "https": "wss"}[u.Scheme]
	at.RawQuery = url.Values{handshakeHeader: {base64.StdEncoding.EncodeToString(initiation.Message)}}.Encode()
	nc, err := wsconn.Dial(ctx, at.String(), upgradeProtocol)
	if err != nil {
		return nil, err
	}
	conn, err := during(ctx, nc, func() (net.Conn, error) { return initiation.Finish(nc) })
	if err != nil {
		nc.Close()
		return nil, err
	}
	return conn, nil
}
