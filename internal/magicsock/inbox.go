package magicsock

import "github.com/meshnet-go/meshnet/internal/relay"

// An inbox is what others have for the loop. What senders and receivers have is
// dropped when it is busy.
type inbox struct {
	calls       chan func()
	messages    chan discoPacket
	hearings    chan hearing
	strangers   chan relay.Packet // initiations that are early
	crossings   chan crossed
	initiations chan initiation // by other ways than we would answer
	beginnings  chan beginning
	wakes       chan *peer // something is sent to them, see route.wake
	failures    chan failure
	answers     chan answer
}

func newInbox() inbox {
	const room = 64
	return inbox{
		calls:       make(chan func()),
		messages:    make(chan discoPacket, room),
		hearings:    make(chan hearing, room),
		strangers:   make(chan relay.Packet, maxEarly),
		crossings:   make(chan crossed, room),
		initiations: make(chan initiation, room),
		beginnings:  make(chan beginning, room),
		wakes:       make(chan *peer, room),
		failures:    make(chan failure, room),
		answers:     make(chan answer, room),
	}
}
