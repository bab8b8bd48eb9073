package portmap

import (
	"testing"
	"time"
)

func TestEpoch(t *testing.T) {
	start := time.Unix(1e9, 0)
	for _, tt := range []struct {
		name          string
		before, after uint32
		elapsed       time.Duration
		want          bool
	}{
		{"as ours", 1000, 1600, 10 * time.Minute, true},
		{"at once", 1000, 1000, 0, true},
		{"a second back, by rounding", 1000, 999, 0, true},
		{"back", 1000, 998, 0, false},
		{"from the start", 100_000, 3, 10 * time.Minute, false},
		{"restarted and went on beyond", 10, 100, 10 * time.Minute, false},
		{"three percent slow", 1000, 1582, 10 * time.Minute, true},
		{"three percent fast", 1000, 1618, 10 * time.Minute, true},
		{"a tenth slow", 1000, 1540, 10 * time.Minute, false},
		{"much too fast: another gateway", 1000, 9000, 10 * time.Minute, false},
		{"beyond what fits", 1<<32 - 1, 5, 6 * time.Second, false},
	} {
		var e epoch
		if !e.goesOn(start, tt.before) {
			t.Errorf("%s: the first is not taken", tt.name)
		}
		if got := e.goesOn(start.Add(tt.elapsed), tt.after); got != tt.want {
			t.Errorf("%s: goes on is %v", tt.name, got)
		}
	}
}
