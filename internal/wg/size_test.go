package wg

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.zx2c4.com/wireguard/device"

	"github.com/meshnet-go/meshnet/key"
)

func TestPacketSize(t *testing.T) {
	for message, want := range map[int]int{
		-1: 0, 0: 0, 31: 0, 47: 0, 48: 16, 1312: 1280, 1327: 1280, 1328: 1296, 1452: 1408, 1472: 1440, 8868: 8832, 65507: 65472, 65535: 65488, 70000: 65488,
	} {
		if want > device.MaxContentSize {
			want = device.MaxContentSize &^ 15
		}
		if got := PacketSize(message); got != want {
			t.Errorf("a message of %d bytes holds a packet of %d; want %d", message, got, want)
		}
	}
}

// What WireGuard makes of the largest packet, and of those that are a bit
// smaller, fits.
func TestPacketSizeIsWireGuards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		a, b := newNode(t, n, "100.64.0.1", nil), newNode(t, n, "100.64.0.2", nil)
		var largest atomic.Int64
		a.bind.sends = func(packet []byte, _ key.NodePublic) { largest.Store(max(largest.Load(), int64(len(packet)))) }
		join(t, a, b)
		for _, message := range []int{1312, 1313, 1452, 1472, 8868, 8880, 65507, 65535} {
			for less := range 40 {
				largest.Store(0)
				text := strings.Repeat("x", PacketSize(message)-20-less)
				if !arrives(a, b, text) || largest.Load() > int64(message) {
					t.Errorf("a packet %d bytes smaller than the largest made a message of %d bytes; want no more than %d", less, largest.Load(), message)
				}
			}
		}
	})
}
