package path

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
)

// pingTimeout is how long a pong is waited for.
const pingTimeout = 5 * time.Second

// flight is a ping that has not been answered yet.
type flight struct {
	tx   disco.TxID
	to   netip.AddrPort
	at   time.Time
	size int // 0: unpadded
}

func (f flight) timeout() time.Time { return f.at.Add(pingTimeout) }

// maxFlights is more than what the budget, the MTU and port probing together
// send before pings time out.
const maxFlights = 1024

// flights are the pings under way, oldest first.
type flights []flight

func (fs *flights) add(f flight) {
	if len(*fs) >= maxFlights {
		*fs = (*fs)[1:]
	}
	*fs = append(*fs, f)
}

// take removes and returns the flight that a pong from an address answers. The
// same transaction from another address answers nothing: it does not show that
// a packet to the first one arrives, and the true pong may still come.
func (fs *flights) take(tx disco.TxID, from netip.AddrPort) (flight, bool) {
	i := slices.IndexFunc(*fs, func(f flight) bool { return f.tx == tx && f.to == from })
	if i < 0 {
		return flight{}, false
	}
	f := (*fs)[i]
	*fs = slices.Delete(*fs, i, i+1)
	return f, true
}

// drop forgets the pings to an address.
func (fs *flights) drop(to netip.AddrPort) {
	*fs = slices.DeleteFunc(*fs, func(f flight) bool { return f.to == to })
}

func newTxID() (tx disco.TxID) {
	rand.Read(tx[:]) // never fails
	return tx
}

// budget lets a burst of events through at once, and one every pause in the
// long run. It is full at first.
type budget struct {
	burst int
	pause time.Duration
	spent time.Time // when all that was taken will have been refilled
}

// take takes one, if there is one.
func (b *budget) take(now time.Time) bool {
	if b.spent.Before(now) {
		b.spent = now
	}
	if b.spent.Sub(now) > time.Duration(b.burst-1)*b.pause {
		return false
	}
	b.spent = b.spent.Add(b.pause)
	return true
}
