package derp

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pathLatency is answered by every relay, with nothing.
const pathLatency = "/derp/latency-check"

// Latency returns how long the first relay of a region that answers takes for
// a small request on an open connection, which is a little more than a round
// trip. It reaches the relay as [Dial] does, within ten seconds and ctx, but
// does not log in: the key is not used. What the connecting takes does not
// count, so that the result compares with one of STUN.
func Latency(ctx context.Context, cfg DialConfig) (time.Duration, error) {
	if cfg.Region == nil {
		return 0, errors.New("derp: Latency needs a region")
	}
	took, err := dialRegion(ctx, cfg, (*attempt).measure)
	if err != nil {
		return 0, fmt.Errorf("derp: measure the latency of region %d: %w", cfg.Region.RegionID, err)
	}
	return took, nil
}
