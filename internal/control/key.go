package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

const (
	keyTimeout = 15 * time.Second
	maxKeyBody = 64 << 10
)

// FetchServerKey asks the coordinator for its key, which is what all trust in
// it rests on. With an https:// URL its certificate vouches for the key; with
// http:// nothing does, and the caller better remembers what it got. The error
// is [ErrNotCoordinator] when something else answers there.
func FetchServerKey(ctx context.Context, cfg Config) (key.MachinePublic, error) {
	k, err := fetchServerKey(ctx, &cfg)
	if err != nil {
		return k, fmt.Errorf("asking the coordinator for its key: %w", err)
	}
	return k, nil
}

func fetchServerKey(ctx context.Context, cfg *Config) (k key.MachinePublic, err error) {
	u, _, err := cfg.endpoint()
	if err != nil {
		return k, err
	}
	u = u.JoinPath("key")
	u.RawQuery = url.Values{"v": {strconv.Itoa(int(tailcfg.CurrentCapability))}}.Encode()
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	err = cfg.ask(ctx, u, func(resp *http.Response) error {
		k, err = readServerKey(resp)
		return err
	})
	return k, err
}

func readServerKey(resp *http.Response) (k key.MachinePublic, err error) {
	if to := resp.Header.Get("Location"); to != "" {
		// Following it could lose the protection of TLS unnoticed.
		return k, fmt.Errorf("%w: it sends us to %q", ErrNotCoordinator, to[:min(len(to), maxErrorText)])
	}
	if resp.StatusCode != http.StatusOK {
		err := readStatusError(resp)
		if refusal(err) != nil {
			return k, fmt.Errorf("%w: %w", ErrNotCoordinator, err)
		}
		return k, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeyBody))
	if err != nil {
		return k, err
	}
	var answer struct {
		PublicKey key.MachinePublic `json:"publicKey"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return k, fmt.Errorf("%w: its answer makes no sense: %w", ErrNotCoordinator, err)
	}
	if answer.PublicKey.IsZero() {
		return k, fmt.Errorf("%w: it has no key", ErrNotCoordinator)
	}
	return answer.PublicKey, nil
}
