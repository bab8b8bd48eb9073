package interop

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	tsstun "tailscale.com/net/stun"

	"github.com/meshnet-go/meshnet/internal/stun"
)

func TestCodecSTUNRequestsAreTheSameBytes(t *testing.T) {
	tx := stun.NewTxID()
	ours, theirs := stun.AppendRequest(nil, tx), tsstun.Request(tsstun.TxID(tx))
	equal(t, "our request", ours, theirs)
	equal(t, "they take our request for STUN", tsstun.Is(ours), true)

	read, err := tsstun.ParseBindingRequest(ours)
	check(t, "they read our request", err)
	equal(t, "its transaction", stun.TxID(read), tx)
	back, err := stun.ParseRequest(theirs)
	check(t, "we read their request", err)
	equal(t, "its transaction", back, tx)
}

func TestCodecSTUNResponsesAreReadByTheOther(t *testing.T) {
	tx := stun.NewTxID()
	for _, addr := range endpoints {
		read, seen, err := tsstun.ParseResponse(stun.AppendResponse(nil, tx, addr))
		check(t, "they read our response", err)
		equal(t, "its transaction", stun.TxID(read), tx)
		equal(t, "its address", seen, addr)

		back, seen, err := stun.ParseResponse(tsstun.Response(tsstun.TxID(tx), addr))
		check(t, "we read their response", err)
		equal(t, "its transaction", back, tx)
		equal(t, "its address", seen, addr)
	}
}

// FuzzSTUNResponse: both sides read the same out of any message with one
// attribute. (Where there are two addresses we take the first, they the last.)
func FuzzSTUNResponse(f *testing.F) {
	const mapped, xorMapped, xorMappedOld = 0x0001, 0x0020, 0x8020
	for _, kind := range []uint16{mapped, xorMapped, xorMappedOld, 0x8022} {
		f.Add(kind, []byte{0, 1, 2, 3, 4, 5, 6, 7})
		f.Add(kind, append([]byte{0, 2, 2, 3}, make([]byte, 16)...))
		f.Add(kind, append([]byte{0, 1, 2, 3}, make([]byte, 16)...))
		f.Add(kind, []byte{0, 3, 2, 3, 4, 5, 6, 7})
		f.Add(kind, []byte{0, 1, 2})
	}
	f.Fuzz(func(t *testing.T, kind uint16, value []byte) {
		packet := stunResponse(kind, value)
		tx, addr, err := stun.ParseResponse(packet)
		theirTx, theirAddr, theirErr := tsstun.ParseResponse(packet)
		if (err == nil) != (theirErr == nil) {
			t.Fatalf("our error is %v, theirs %v", err, theirErr)
		}
		if err == nil {
			equal(t, "the transaction", tx, stun.TxID(theirTx))
			equal(t, "the address", addr, theirAddr)
		}
	})
}

// stunResponse is a response with one attribute.
func stunResponse(kind uint16, value []byte) []byte {
	value = value[:min(len(value), 1000)]
	padded := append(slices.Clone(value), make([]byte, -len(value)&3)...)
	packet := binary.BigEndian.AppendUint16([]byte{1, 1}, uint16(4+len(padded)))
	packet = append(packet, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	packet = binary.BigEndian.AppendUint16(packet, kind)
	packet = binary.BigEndian.AppendUint16(packet, uint16(len(value)))
	return append(packet, padded...)
}

// FuzzSTUNRequest: a request of the usual size is one to both sides or to
// neither.
func FuzzSTUNRequest(f *testing.F) {
	request := stun.AppendRequest(nil, stun.TxID{})
	f.Add(request, 0, byte(0))
	f.Add(request, 39, byte(1))
	f.Add(request, 5, byte(1))
	f.Fuzz(func(t *testing.T, packet []byte, at int, flip byte) {
		equal(t, "it is STUN", stun.Is(packet), tsstun.Is(packet))
		packet = flipped(packet, at, flip)
		if len(packet) != len(request) || !bytes.Equal(packet[:4], request[:4]) {
			return // they do not check the length in the header
		}
		tx, err := stun.ParseRequest(packet)
		theirTx, theirErr := tsstun.ParseBindingRequest(packet)
		if (err == nil) != (theirErr == nil) {
			t.Fatalf("our error is %v, theirs %v", err, theirErr)
		}
		equal(t, "the transaction", tx, stun.TxID(theirTx))
	})
}
