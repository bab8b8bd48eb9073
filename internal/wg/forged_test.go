package wg

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/blake2s"

	"github.com/meshnet-go/meshnet/key"
)

// Of handshake messages (WireGuard's paper, section 5.4): types, and where the
// index of the sender of an initiation stands in it and in the response.
const (
	typeResponse = 2
	responseSize = 92

	initiationSender = 4
	responseReceiver = 8
	responseMAC1     = 60
)

// forgedResponse answers an initiation with what anybody can know: the index,
// and the first MAC, whose key is the public one of the receiver.
func forgedResponse(initiation []byte, to key.NodePublic, variant byte) []byte {
	forged := make([]byte, responseSize)
	forged[0], forged[responseReceiver+4] = typeResponse, variant
	copy(forged[responseReceiver:], initiation[initiationSender:][:4])
	macKey := blake2s.Sum256(to.AppendRaw([]byte("mac1----")))
	mac, err := blake2s.New128(macKey[:])
	if err != nil {
		panic(err)
	}
	mac.Write(forged[:responseMAC1])
	mac.Sum(forged[:responseMAC1])
	return forged
}

// TestForgedResponsesDoNotPreventAHandshake has somebody on the way, such as a
// relay, answer each initiation before the peer can. A response that does not
// verify may not end the handshake that it pretends to answer.
func TestForgedResponsesDoNotPreventAHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(memNet)
		var log bytes.Buffer
		a := newNode(t, n, "100.64.0.1", slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		b := newNode(t, n, "100.64.0.2", nil)
		a.bind.sends = func(packet []byte, to key.NodePublic) {
			if binary.LittleEndian.Uint32(packet) != typeInitiation {
				return
			}
			for i := range byte(20) {
				a.bind.rx <- memPacket{to, forgedResponse(packet, a.key.Public(), i)}
			}
		}
		join(t, a, b)
		wantArrives(t, "through the forgeries", a, b, true)
		a.Close()
		synctest.Wait() // for the last of the log
		if !strings.Contains(log.String(), "invalid response") {
			t.Error("the forgeries are not even tried")
		}
	})
}
