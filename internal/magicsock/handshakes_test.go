package magicsock

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"
)

func testInitiation(index uint32) []byte {
	packet := make([]byte, initiationSize)
	packet[0] = typeInitiation
	binary.LittleEndian.PutUint32(packet[4:], index)
	return packet
}

func testResponse(to uint32) []byte {
	packet := make([]byte, responseSize)
	packet[0] = typeResponse
	binary.LittleEndian.PutUint32(packet[8:], to)
	return packet
}

func (h *handshakes) wantVerdict(t *testing.T, sentence string, packet []byte, want verdict) {
	t.Helper()
	if got, _ := h.receive(packet, origin{}); got != want {
		t.Errorf("%s: %v, want %v", sentence, got, want)
	}
}

func (h *handshakes) wantSent(t *testing.T, sentence string, packet []byte, want bool) {
	t.Helper()
	if got, _ := h.maySend([][]byte{packet}); got != want {
		t.Errorf("%s: sent %v, want %v", sentence, got, want)
	}
}

// A message that comes by two ways at once is WireGuard's only once.
func TestHandshakesComeOnce(t *testing.T) {
	var h handshakes
	h.wantVerdict(t, "the first response", testResponse(1), take)
	h.wantVerdict(t, "a copy of it", testResponse(1), drop)
	h.wantVerdict(t, "another", testResponse(2), take)
	data := make([]byte, responseSize)
	data[0] = 4
	for range 2 {
		h.wantVerdict(t, "data", data, take)
	}
}

func TestInitiationsDoNotCross(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h handshakes
		h.wantSent(t, "ours", testInitiation(1), true)
		h.wantVerdict(t, "the peer's", testInitiation(2), cross)
		h.wantVerdict(t, "the peer's once more", testInitiation(2), cross)
		h.wantVerdict(t, "an answer to something else", testResponse(9), take)
		h.wantVerdict(t, "the peer's after that", testInitiation(2), cross)
		h.wantVerdict(t, "the answer to ours", testResponse(1), take)
		h.wantVerdict(t, "the peer's next", testInitiation(3), take)

		h.wantSent(t, "while that is being answered", testInitiation(4), false)
		h.wantSent(t, "but not twice", testInitiation(4), true)
		time.Sleep(crossingTime)
		h.wantVerdict(t, "long after ours", testInitiation(5), take)
		h.wantSent(t, "the answer", testResponse(5), true)
		h.wantSent(t, "one of before, behind the answer", testInitiation(6), false)
		time.Sleep(crossingTime)
		h.wantVerdict(t, "again", testInitiation(9), take)
		h.wantSent(t, "the answer", testResponse(9), true)
		time.Sleep(answeringTime)
		h.wantSent(t, "after the answer", testInitiation(10), true)
		time.Sleep(crossingTime)
		h.wantVerdict(t, "one that has no answer", testInitiation(7), take)
		time.Sleep(answeringTime)
		h.wantSent(t, "when there has been none", testInitiation(8), true)
	})
}
