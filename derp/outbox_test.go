package derp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

// tray is an outbox whose writer is the test.
type tray struct {
	*outbox
	t   *testing.T
	now time.Time
}

func newTray(t *testing.T) *tray {
	o := newOutbox(new(messages), packetBytes, discoBytes)
	o.writing = true
	return &tray{outbox: o, t: t, now: time.Unix(1e9, 0)}
}

func (o *tray) message(content string) *message {
	m := o.pool.get(FrameRecvPacket, key.NodePublic{}, len(content))
	copy(m.data, content)
	return m
}

// offers puts a packet in, and returns how long the outbox would have its
// sender wait.
func (o *tray) offers(l lane, f *flow, content string) time.Duration {
	wait, _ := o.offer(l, f, o.message(content), make(chan struct{}, 1), o.now)
	return wait
}

func (o *tray) put(l lane, f *flow, content string) {
	o.t.Helper()
	if wait := o.offers(l, f, content); wait != 0 {
		o.t.Fatalf("there is no room for %.20q", content)
	}
}

// fill puts in numbered packets of a flow until it would have to wait, and
// returns how many there are.
func (o *tray) fill(f *flow) (n int) {
	for o.offers(lanePacket, f, fmt.Sprint(n)) == 0 {
		n++
	}
	return n
}

func (o *tray) next() string {
	batch := o.outbox.take(1)
	if batch.n == 0 {
		return "nothing"
	}
	return string(batch.first.data)
}

func (o *tray) wantNext(want string) {
	o.t.Helper()
	if got := o.next(); got != want {
		o.t.Fatalf("next is %.20q, want %.20q", got, want)
	}
}

func TestOutboxControlGoesFirst(t *testing.T) {
	o := newTray(t)
	var disco, packets flow
	for i := range 3 {
		o.put(lanePacket, &packets, fmt.Sprint("packet ", i))
		o.put(laneDisco, &disco, fmt.Sprint("disco ", i))
	}
	o.put(lanePacket, &packets, "packet 3")
	o.tell(o.message("control"))
	for _, want := range []string{"control", "disco 0", "packet 0", "disco 1", "packet 1", "disco 2", "packet 2", "packet 3", "nothing"} {
		o.wantNext(want)
	}
}

func TestOutboxControlIsBounded(t *testing.T) {
	o := newTray(t)
	for i := range maxControl + 1 {
		o.tell(o.message(fmt.Sprint(i)))
	}
	o.wantNext("1")
}

func TestOutboxHasTheSendersOfAQuickDestinationWait(t *testing.T) {
	o := newTray(t)
	var f flow
	n := o.fill(&f)
	if want := packetBytes / messageCost; n != want {
		t.Errorf("%d packets fit, want %d", n, want)
	}
	room := make(chan struct{}, 1)
	o.now = o.now.Add(5 * time.Millisecond)
	if wait, _ := o.offer(lanePacket, &f, o.message("more"), room, o.now); wait != maxWait-5*time.Millisecond {
		t.Errorf("the sender shall wait for %v", wait)
	}
	for range n/4 + 1 {
		o.next()
	}
	select {
	case <-room:
	default:
		t.Error("the sender is not told that there is room")
	}
	if o.overflowed() != 0 {
		t.Error("packets were lost")
	}
}

func TestOutboxHasNobodyWaitForASlowDestination(t *testing.T) {
	o := newTray(t)
	var f flow
	n := o.fill(&f)
	o.now = o.now.Add(maxWait)
	for i := range 10 {
		o.put(lanePacket, &f, fmt.Sprint("late ", i))
	}
	if o.overflowed() != 10 {
		t.Errorf("%d packets were pushed out", o.overflowed())
	}
	for i := range n - 10 {
		o.wantNext(fmt.Sprint(i + 10))
	}
	o.wantNext("late 0")
}

// A flood of discovery never holds up its sender.
func TestOutboxDiscoDoesNotWait(t *testing.T) {
	o := newTray(t)
	var f flow
	for i := range 1000 {
		o.put(laneDisco, &f, fmt.Sprint(i))
	}
	o.wantNext(fmt.Sprint(1000 - discoBytes/messageCost))
}

func TestOutboxIsFair(t *testing.T) {
	o := newTray(t)
	var bulk, other, third flow
	packet := strings.Repeat("b", 1400)
	for o.offers(lanePacket, &bulk, packet) == 0 {
	}
	o.put(lanePacket, &other, "other 0")
	o.put(lanePacket, &other, "other 1")
	o.put(lanePacket, &third, "third")
	if o.overflowed() == 0 {
		t.Error("the bulk sender did not make room for the others")
	}
	seen := 0
	for range 2*quantum/len(packet) + 1 {
		if o.next() != packet {
			seen++
		}
	}
	if seen != 3 {
		t.Errorf("%d packets of the others came within two turns of the bulk sender", seen)
	}
}

// Two bulk senders get the same, whatever the size of their packets.
func TestOutboxSharesByBytes(t *testing.T) {
	o := newTray(t)
	var small, large flow
	sent := map[byte]int{}
	for range 2000 {
		o.offers(lanePacket, &small, strings.Repeat("s", 100))
		o.offers(lanePacket, &large, strings.Repeat("l", 1400))
		packet := o.next()
		sent[packet[0]] += headerSize + key.Size + len(packet)
	}
	if ratio := float64(sent['s']) / float64(sent['l']); ratio < 0.9 || ratio > 1.1 {
		t.Errorf("bytes sent: %v", sent)
	}
}

func TestOutboxWithMoreSendersThanTurns(t *testing.T) {
	o := newTray(t)
	flows := make([]flow, maxFlows+10)
	for i := range flows {
		o.put(lanePacket, &flows[i], fmt.Sprint(i))
	}
	if o.packets.flows != maxFlows+1 {
		t.Errorf("%d flows take turns", o.packets.flows)
	}
	for i := range flows {
		o.wantNext(fmt.Sprint(i))
	}
	o.wantNext("nothing")
}

func TestOutboxLargePacketsAreFewer(t *testing.T) {
	o := newTray(t)
	var f flow
	n := 0
	for o.offers(lanePacket, &f, strings.Repeat("x", MaxPacketSize)) == 0 {
		n++
	}
	if want := packetBytes / (MaxPacketSize + messageCost); n != want {
		t.Errorf("%d packets of %d bytes wait, want %d", n, MaxPacketSize, want)
	}
}

func TestOutboxTakesWhatFitsOneWrite(t *testing.T) {
	o := newTray(t)
	var f flow
	for range 100 {
		o.put(lanePacket, &f, strings.Repeat("x", 1312))
	}
	batch := o.outbox.take(batchBytes)
	var frames []byte
	for m := batch.pop(); m != nil; m = batch.pop() {
		frames = m.appendTo(frames)
	}
	if len(frames) < batchBytes || len(frames) > 16<<10 {
		t.Errorf("%d bytes are written at a time", len(frames))
	}
}

func TestOutboxClosed(t *testing.T) {
	o := newTray(t)
	var f flow
	o.put(lanePacket, &f, "before")
	o.close()
	o.put(lanePacket, &f, "after")
	if o.tell(o.message("control")) || o.nudge() {
		t.Error("a closed outbox wants a writer")
	}
	o.wantNext("nothing")
}

func TestOutboxFinish(t *testing.T) {
	o := newTray(t)
	var f flow
	o.put(lanePacket, &f, "before")
	o.finish(o.message("the last"))
	o.put(lanePacket, &f, "after")
	o.wantNext("the last")
	o.wantNext("before")
	o.wantNext("nothing")
	o.close()
}
