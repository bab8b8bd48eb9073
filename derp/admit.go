package derp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

const (
	admitTimeout  = 5 * time.Second
	maxAdmitReply = 4 << 10
)

// AdmitURL asks a web server about clients: a value for [ServerConfig].Admit.
type AdmitURL struct {
	// URL is posted
	//
	//	{"NodePublic": "nodekey:…", "Source": "192.0.2.1"}
	//
	// and answers with status 200 and {"Allow": true} for those whom the relay
	// shall serve, within five seconds. Tailscale's derper asks so too
	// (-verify-client-url), and coordinators answer it: Headscale at /verify.
	URL string
	// FailOpen admits everybody while the server cannot be reached. What it
	// answers counts in any case.
	FailOpen bool
	// Client makes the requests; nil is [http.DefaultClient].
	Client *http.Client
}

type admitRequest struct {
	NodePublic key.NodePublic
	Source     netip.Addr
}

type admitReply struct{ Allow bool }

// Admit returns nil if the server says so.
func (a AdmitURL) Admit(ctx context.Context, client key.NodePublic, addr netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	text, err := json.Marshal(admitRequest{NodePublic: client, Source: addr.Addr()})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	web := a.Client
	if web == nil {
		web = http.DefaultClient
	}
	resp, err := web.Do(req)
	if err != nil {
		if a.FailOpen {
			return nil
		}
		return fmt.Errorf("ask who may be let in: %w", err)
	}
	defer resp.Body.Close()
	return readAdmitReply(resp)
}

func readAdmitReply(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asked who may be let in, the server answers %q", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAdmitReply))
	if err != nil {
		return fmt.Errorf("read who may be let in: %w", err)
	}
	var reply admitReply
	if err := json.Unmarshal(text, &reply); err != nil {
		return fmt.Errorf("read who may be let in: %w", err)
	}
	if !reply.Allow {
		return errors.New("the server that knows who may be let in does not allow it")
	}
	return nil
}
