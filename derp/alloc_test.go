//go:build !race

package derp

import "testing"

// With the race detector pools lose what they hold, so that there is nothing to count.
func TestForwardingAllocatesNothing(t *testing.T) {
	for _, size := range []int{1, benchPacket, longPacket} {
		if n := testing.AllocsPerRun(1000, newForward(t, size)); n > 0 {
			t.Errorf("a packet of %d bytes takes %v allocations", size, n)
		}
	}
}
