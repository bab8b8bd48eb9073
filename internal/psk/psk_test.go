package psk

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/key"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A side is one of two nodes, and what it was told to do.
type side struct {
	*Peer
	key         Key
	initiations int             // sent
	forgotten   int             // initiations
	outbox      []disco.Message // not delivered yet
}

func (s *side) do(out Output) {
	if out.Key != nil {
		s.key = *out.Key
	}
	if out.Message != nil {
		s.outbox = append(s.outbox, out.Message)
	}
	switch out.Initiation {
	case Send:
		s.initiations++
	case Forget:
		s.forgotten++
	}
}

func (s *side) take(now time.Time, m disco.Message) {
	switch m := m.(type) {
	case disco.KeyOffer:
		s.do(s.HandleOffer(now, m))
	case disco.KeyAnswer:
		s.do(s.HandleAnswer(m))
	}
}

// newPair returns two sides, of whom the first has the smaller key.
func newPair() (first, second *side) {
	a, b := key.NewNode().Public(), key.NewNode().Public()
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	return &side{Peer: New(a, b)}, &side{Peer: New(b, a)}
}

// deliver carries messages until there are none.
func deliver(now time.Time, a, b *side) {
	for len(a.outbox)+len(b.outbox) > 0 {
		fromA, fromB := a.outbox, b.outbox
		a.outbox, b.outbox = nil, nil
		for _, m := range fromA {
			b.take(now, m)
		}
		for _, m := range fromB {
			a.take(now, m)
		}
	}
}

func wantAgreed(t *testing.T, sentence string, a, b *side) {
	t.Helper()
	if a.key.IsZero() || a.key != b.key {
		t.Errorf("%s: they have not agreed", sentence)
	}
}

func wantInitiations(t *testing.T, sentence string, s *side, want int) {
	t.Helper()
	if s.initiations != want {
		t.Errorf("%s: %d initiations were sent, want %d", sentence, s.initiations, want)
	}
}

func TestEachHandshakeHasAKey(t *testing.T) {
	a, b := newPair()
	seen := make(map[Key]bool)
	for i := range 4 {
		begins, other := a, b
		if i%2 == 1 {
			begins, other = b, a
		}
		before := begins.initiations
		begins.do(begins.Begin(start.Add(time.Duration(i) * time.Minute)))
		wantInitiations(t, "before the answer", begins, before)
		deliver(start, begins, other)
		wantInitiations(t, "after it", begins, before+1)
		wantAgreed(t, fmt.Sprint("handshake ", i), a, b)
		if seen[a.key] {
			t.Errorf("handshake %d: the key is an old one", i)
		}
		seen[a.key] = true
		if !begins.Deadline().IsZero() {
			t.Error("there still is something to be done")
		}
	}
}

// Both begin at the same moment. The initiation of the smaller key is sent.
func TestOffersThatCross(t *testing.T) {
	a, b := newPair()
	for i := range 3 {
		now := start.Add(time.Duration(i) * time.Minute)
		a.do(a.Begin(now))
		b.do(b.Begin(now))
		deliver(now, a, b)
		wantAgreed(t, "after both", a, b)
		wantInitiations(t, "the smaller key", a, i+1)
		wantInitiations(t, "the larger key", b, 0)
		if b.forgotten != i+1 {
			t.Errorf("the larger key forgot %d initiations, want %d", b.forgotten, i+1)
		}
	}
}

// One begins when it has just answered the other, whose initiation is on its way.
func TestAnswerThenBegin(t *testing.T) {
	for _, swap := range []bool{false, true} {
		a, b := newPair()
		if swap {
			a, b = b, a
		}
		a.do(a.Begin(start))
		b.take(start, a.outbox[0])
		a.outbox = nil
		b.do(b.Begin(start))
		deliver(start, a, b)
		wantAgreed(t, "after both", a, b)
		wantInitiations(t, "who was first", a, 1)
		wantInitiations(t, "who answered", b, 0)
		later := start.Add(patience)
		b.do(b.Begin(later))
		deliver(later, a, b)
		wantInitiations(t, "who answered, later", b, 1)
	}
}

func TestLostMessages(t *testing.T) {
	a, b := newPair()
	a.do(a.Begin(start))
	a.outbox = nil // the offer
	now := a.Deadline()
	a.do(a.Tick(now))
	for _, m := range a.outbox {
		b.take(now, m)
	}
	b.outbox, a.outbox = nil, nil // the answer
	key := b.key
	now = a.Deadline()
	a.do(a.Tick(now))
	deliver(now, a, b)
	wantAgreed(t, "the third offer", a, b)
	if b.key != key {
		t.Error("a copy of the offer has another key")
	}
	wantInitiations(t, "the third offer", a, 1)
}

// A peer that does not answer costs a second, once.
func TestSilentPeer(t *testing.T) {
	a, b := newPair()
	silent := func(begin time.Time) (waits time.Duration) {
		before := a.initiations
		a.do(a.Begin(begin))
		for now := begin; a.initiations == before; {
			now = a.Deadline()
			waits = now.Sub(begin)
			a.do(a.Tick(now))
		}
		return waits
	}
	if got := silent(start); got != patience {
		t.Errorf("the first initiation waits %v, want %v", got, patience)
	}
	if !a.key.IsZero() || len(a.outbox) != 4 {
		t.Errorf("%v, %d offers, want none and 4", a.key, len(a.outbox))
	}
	if got := silent(start.Add(5 * time.Second)); got != 0 {
		t.Errorf("the second waits %v, want 0", got)
	}
	if got := silent(start.Add(silence + patience)); got != patience {
		t.Errorf("after a long time it waits %v, want %v", got, patience)
	}
	a.outbox = a.outbox[len(a.outbox)-1:]
	late := start.Add(silence + time.Minute)
	deliver(late, a, b)
	wantAgreed(t, "a late answer", a, b)
	wantInitiations(t, "which comes when the initiation is sent", a, 3)
}

// Once a peer has agreed there is no handshake without a key.
func TestNoWayBack(t *testing.T) {
	for _, test := range []struct {
		name   string
		agreed func(a, b *side)
	}{
		{"by its offer", func(a, b *side) { b.do(b.Begin(start)); deliver(start, a, b) }},
		{"by its answer", func(a, b *side) { a.do(a.Begin(start)); deliver(start, a, b) }},
	} {
		a, b := newPair()
		test.agreed(a, b)
		before := a.initiations
		begin := start.Add(time.Minute)
		a.do(a.Begin(begin))
		for !a.Deadline().IsZero() {
			a.do(a.Tick(a.Deadline()))
		}
		if a.initiations != before {
			t.Errorf("a peer agreed %s and then is silent: an initiation is sent", test.name)
		}
	}
}

// A peer that declines gets no key, and costs only the way to it and back.
func TestDeclined(t *testing.T) {
	a, b := newPair()
	a.do(a.Begin(start))
	deliver(start, a, b)
	a.do(a.Begin(start.Add(time.Minute)))
	a.take(start, disco.KeyAnswer{ID: a.offer.id, Declined: true})
	wantInitiations(t, "after declining", a, 2)
	if !a.key.IsZero() {
		t.Error("there is a key")
	}
}

// A node that has restarted knows nothing, and that is no matter.
func TestRestart(t *testing.T) {
	a, b := newPair()
	a.do(a.Begin(start))
	deliver(start, a, b)
	for i, restarts := range []*side{a, b} {
		*restarts = side{Peer: New(restarts.ours, restarts.theirs)}
		now := start.Add(time.Duration(i) * time.Minute)
		a.do(a.Begin(now))
		deliver(now, a, b)
		wantAgreed(t, fmt.Sprint("restart ", i), a, b)
	}
}

func TestOffersAreBounded(t *testing.T) {
	a, b := newPair()
	flood := func(now time.Time) (answers int) {
		for range 100 {
			b.do(b.Begin(now))
			a.take(now, b.outbox[len(b.outbox)-1])
		}
		answers, a.outbox = len(a.outbox), nil
		return answers
	}
	if got := flood(start); got != answerBurst {
		t.Errorf("%d offers are answered at once, want %d", got, answerBurst)
	}
	if got := flood(start.Add(answerInterval)); got != 1 {
		t.Errorf("%d offers are answered after that, want 1", got)
	}
}

func TestBadMessages(t *testing.T) {
	a, b := newPair()
	bad := disco.KeyOffer{ID: disco.OfferID{1}}
	for i := range bad.Key {
		bad.Key[i] = 0xff // coefficients that are too large
	}
	a.take(start, bad)
	a.take(start, disco.KeyAnswer{})
	if !a.key.IsZero() || len(a.outbox) > 0 || a.agrees {
		t.Error("a bad offer or an answer to nothing counts")
	}
	a.do(a.Begin(start))
	a.take(start, disco.KeyAnswer{ID: disco.OfferID{9}})
	wantInitiations(t, "an answer to another offer", a, 0)
	deliver(start, a, b)
	wantAgreed(t, "after all that", a, b)
}

// Preshared keys are for two nodes in their roles.
func TestDerive(t *testing.T) {
	a, b := key.NewNode().Public(), key.NewNode().Public()
	shared := make([]byte, 32)
	if *derive(shared, a, b) == *derive(shared, b, a) || derive(shared, a, b).IsZero() {
		t.Error("the nodes are not in the key")
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	k := Key([]byte("0123456789abcdef0123456789abcdef"))
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("agreed", "key", k, "pointer", &k)
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s", k, k, k, k), fmt.Sprint(Output{Key: &k}), log.String()} {
		if bytes.Contains([]byte(text), []byte("0123")) || bytes.Contains([]byte(text), []byte("30 31")) || bytes.Contains([]byte(text), []byte("48 49")) {
			t.Errorf("the key is printed: %s", text)
		}
	}
}

// Whatever happens, the deadline moves on, messages are bounded, and as soon as
// messages arrive again both sides agree.
func FuzzPeers(f *testing.F) {
	f.Add([]byte("bB....aA"))
	f.Add([]byte("b.x.B,,XX"))
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Fuzz(func(t *testing.T, events []byte) {
		if len(events) > 200 {
			return
		}
		a, b := newPair()
		now := start
		tick := func(s *side) {
			for n := 0; !s.Deadline().IsZero() && !s.Deadline().After(now); n++ {
				if n > 10 {
					t.Fatal("the deadline does not move on")
				}
				s.do(s.Tick(now))
			}
		}
		pass := func(from, to *side, lost, copied bool) {
			if len(from.outbox) == 0 {
				return
			}
			m := from.outbox[0]
			if !copied {
				from.outbox = from.outbox[1:]
			}
			if !lost {
				to.take(now, m)
			}
		}
		for _, e := range events {
			from, to := a, b
			if e&1 == 1 {
				from, to = b, a
			}
			switch e >> 1 & 7 {
			case 0:
				from.do(from.Begin(now))
			case 1:
				pass(from, to, true, false)
			case 2:
				pass(from, to, false, true)
			case 3:
				now = now.Add(time.Duration(e>>4) * 100 * time.Millisecond)
			default:
				pass(from, to, false, false)
			}
			tick(a)
			tick(b)
		}
		a.outbox, b.outbox = nil, nil
		now = now.Add(time.Minute)
		tick(a)
		tick(b)
		a.outbox, b.outbox = nil, nil
		a.do(a.Begin(now))
		deliver(now, a, b)
		wantAgreed(t, "in the end", a, b)
	})
}
