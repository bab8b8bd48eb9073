package wsconn

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	var p pace
	start := time.Unix(1000, 0)
	now := start
	for range paceBurst {
		if d := p.wait(now); d != 0 {
			t.Errorf("within the burst, %v", d)
		}
	}
	for range 100 {
		now = now.Add(p.wait(now))
	}
	if took := now.Sub(start); took != 100*paceEvery {
		t.Errorf("100 after the burst take %v", took)
	}
	if d := p.wait(now.Add(time.Hour)); d != 0 {
		t.Errorf("after a rest, %v", d)
	}
}
