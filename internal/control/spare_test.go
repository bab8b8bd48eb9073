package control

import (
	"testing"
	"testing/synctest"
	"time"
)

// What the key came by is the connection for everything else, unless that takes
// too long to be asked for, or the coordinator has hung up.
func TestSpare(t *testing.T) {
	for _, tt := range []struct {
		name  string
		curt  bool
		wait  time.Duration
		dials int
	}{
		{"at once", false, 0, 1},
		{"late", false, spareTime, 2},
		{"the coordinator has hung up", true, 0, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCoordinator(t)
				c.curt = tt.curt
				cfg := c.sessionConfig()
				cfg.Spare = new(Spare)
				defer cfg.Spare.Close()
				if _, err := FetchServerKey(t.Context(), cfg.Config); err != nil {
					t.Fatal(err)
				}
				time.Sleep(tt.wait)
				s := Start(cfg)
				joined(t, c, s)
				s.Close()
				if got := c.dialled(); got != tt.dials {
					t.Errorf("%d connections, want %d", got, tt.dials)
				}
			})
		})
	}
}

func TestSpareIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCoordinator(t)
		cfg := c.sessionConfig()
		cfg.Spare = new(Spare)
		for range 2 { // the second comes when it is closed already
			if _, err := FetchServerKey(t.Context(), cfg.Config); err != nil {
				t.Fatal(err)
			}
			cfg.Spare.Close()
		}
		if nc := cfg.Spare.take(); nc != nil {
			t.Error("a closed one has a connection")
		}
		synctest.Wait() // the bubble ends when the coordinator's ends are closed, too
	})
}
