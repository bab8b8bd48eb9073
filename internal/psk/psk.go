// Package psk agrees WireGuard preshared keys with peers, by ML-KEM-768. With
// one a session stays secret even if somebody records it today and one day has
// a computer that breaks Curve25519: WireGuard mixes the preshared key into the
// keys of the session.
//
//	WireGuard begins a handshake; its initiation is held
//	ours    ── KeyOffer: an encapsulation key ──▶   peer
//	                                                has the preshared key
//	        ◀────────── KeyAnswer: the ciphertext ──
//	has the preshared key
//	        ── the initiation ──▶
//
// Each handshake has a key of its own, made just before it. So keys change as
// often as WireGuard's do, every two minutes while there is traffic, and a node
// that has lost one, by a restart, loses nothing. The messages are sealed by
// disco, which proves who sent them.
//
// A [Peer] decides, and owns no clock: it is told what happens and when, and
// says what to do.
package psk

import (
	"crypto/hkdf"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"log/slog"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/key"
)

// Key is a preshared key. The zero Key is WireGuard's for none. It does not show
// what it is when it is printed.
type Key [32]byte

// IsZero reports whether k is for none.
func (k Key) IsZero() bool { return k == Key{} }

// String tells of the key only whether there is one.
func (k Key) String() string {
	if k.IsZero() {
		return "no preshared key"
	}
	return "a preshared key"
}

// GoString is String, for %#v.
func (k Key) GoString() string { return k.String() }

// LogValue implements [slog.LogValuer].
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

const (
	// patience is how long an initiation waits for the answer to an offer. A
	// peer that is no meshnet node, or an old one, does not answer.
	patience = time.Second

	// offerInterval is when an offer is sent again that has no answer.
	offerInterval = 300 * time.Millisecond

	// silence is how long nothing is held again for a peer that did not answer.
	// It gets offers nevertheless.
	silence = 10 * time.Minute

	// answerInterval and answerBurst bound how many offers a peer can have us
	// answer.
	answerInterval = 500 * time.Millisecond
	answerBurst    = 4
)

// Peer is what is agreed, or being agreed, with a peer.
type Peer struct {
	ours, theirs key.NodePublic

	offer    *offer   // our last; nil: there is none, or it is answered
	answered answered // the peer's last
	budget   budget   // of answers

	// agrees is whether the peer is known to want keys. Then there is no
	// handshake without.
	agrees bool
	// silent is until when nothing waits for the peer, which did not answer.
	silent time.Time
}

// offer is one that we have made.
type offer struct {
	id     disco.OfferID
	key    *mlkem.DecapsulationKey768
	holds  bool // an initiation waits for the answer
	resend time.Time
	end    time.Time // of the wait
}

// answered is an offer of the peer, and what it made of it: a copy of the offer
// gets the same answer.
type answered struct {
	offer  disco.OfferID
	answer disco.KeyAnswer
	at     time.Time
}

// New returns what is agreed with a peer of whom nothing is known.
func New(ours, theirs key.NodePublic) *Peer { return &Peer{ours: ours, theirs: theirs} }

// Fate is what happens to the initiation that is held.
type Fate int

// The fates of an initiation.
const (
	Hold   Fate = iota // nothing: it waits, or there is none
	Send               // to the peer
	Forget             // the peer begins a handshake, or WireGuard tries again
)

// Output is what to do, in the order of the fields.
type Output struct {
	Key        *Key          // for WireGuard, which uses it from now on; nil: no other one
	Message    disco.Message // for the peer, through a relay; nil: none
	Initiation Fate
}

// Begin says what to do with an initiation that WireGuard has for the peer.
func (p *Peer) Begin(now time.Time) Output {
	if now.Sub(p.answered.at) < patience {
		// The peer has the key for its own initiation, which is on its way: another
		// key would make that one worthless.
		return Output{Initiation: Forget}
	}
	k, err := mlkem.GenerateKey768()
	if err != nil {
		return Output{Initiation: Forget} // it does not happen: there is no randomness
	}
	p.offer = &offer{
		key:    k,
		holds:  p.agrees || !now.Before(p.silent),
		resend: now.Add(offerInterval),
		end:    now.Add(patience),
	}
	rand.Read(p.offer.id[:])
	out := Output{Message: p.offer.message()}
	if !p.offer.holds {
		out.Initiation = Send
	}
	return out
}

func (o *offer) message() disco.KeyOffer {
	return disco.KeyOffer{ID: o.id, Key: [mlkem.EncapsulationKeySize768]byte(o.key.EncapsulationKey().Bytes())}
}

// HandleOffer says what to do about an offer of the peer.
func (p *Peer) HandleOffer(now time.Time, m disco.KeyOffer) Output {
	if !p.budget.take(now) {
		return Output{}
	}
	if m.ID == p.answered.offer {
		return Output{Message: p.answered.answer}
	}
	if p.offer != nil && p.offer.holds && p.ours.Compare(p.theirs) < 0 {
		return Output{} // of two that cross, that of the smaller key counts
	}
	theirs, err := mlkem.NewEncapsulationKey768(m.Key[:])
	if err != nil {
		return Output{}
	}
	shared, ciphertext := theirs.Encapsulate()
	p.answered = answered{m.ID, disco.KeyAnswer{ID: m.ID, Ciphertext: [mlkem.CiphertextSize768]byte(ciphertext)}, now}
	p.offer, p.agrees = nil, true
	return Output{Key: derive(shared, p.theirs, p.ours), Message: p.answered.answer, Initiation: Forget}
}

// HandleAnswer says what to do about an answer of the peer.
func (p *Peer) HandleAnswer(m disco.KeyAnswer) Output {
	if p.offer == nil || p.offer.id != m.ID {
		return Output{}
	}
	o := p.offer
	k := new(Key)
	if !m.Declined {
		shared, err := o.key.Decapsulate(m.Ciphertext[:])
		if err != nil {
			return Output{}
		}
		k = derive(shared, p.ours, p.theirs)
	}
	p.offer, p.agrees = nil, !m.Declined
	out := Output{Key: k}
	if o.holds {
		out.Initiation = Send
	}
	return out
}

// Tick says what to do at or after the deadline.
func (p *Peer) Tick(now time.Time) Output {
	o := p.offer
	switch {
	case o == nil || !o.holds:
		return Output{}
	case now.Before(o.end):
		if now.Before(o.resend) {
			return Output{}
		}
		o.resend = now.Add(offerInterval)
		return Output{Message: o.message()}
	case p.agrees:
		p.offer = nil
		return Output{Initiation: Forget}
	}
	// The answer may still come. It is for the next handshake.
	o.holds, p.silent = false, now.Add(silence)
	return Output{Initiation: Send}
}

// Deadline returns when to call Tick, or zero.
func (p *Peer) Deadline() time.Time {
	switch o := p.offer; {
	case o == nil || !o.holds:
		return time.Time{}
	case o.resend.Before(o.end):
		return o.resend
	default:
		return o.end
	}
}

// derive makes a preshared key of a shared secret, for these two nodes only.
func derive(shared []byte, offering, answering key.NodePublic) *Key {
	info := answering.AppendRaw(offering.AppendRaw([]byte("meshnet preshared key 1 ")))
	raw, err := hkdf.Key(sha256.New, shared, nil, string(info), len(Key{}))
	if err != nil {
		panic(err) // only a length that is too large is an error
	}
	return (*Key)(raw)
}

// budget is a token bucket.
type budget struct {
	used float64
	last time.Time
}

func (b *budget) take(now time.Time) bool {
	if !b.last.IsZero() {
		b.used = max(0, b.used-float64(now.Sub(b.last))/float64(answerInterval))
	}
	b.last = now
	if b.used+1 > answerBurst {
		return false
	}
	b.used++
	return true
}
