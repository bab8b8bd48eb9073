package disco

import "crypto/mlkem"

// OfferID names an offer in the answer to it.
type OfferID [8]byte

const (
	offerSize  = len(OfferID{}) + mlkem.EncapsulationKeySize768
	answerSize = len(OfferID{}) + mlkem.CiphertextSize768
)

// KeyOffer is how meshnet nodes agree on a WireGuard preshared key, see package
// psk. It is sent through relays, before the handshake that the key is for.
//
//	id      8
//	key  1184   encapsulation key of ML-KEM-768
type KeyOffer struct {
	ID  OfferID
	Key [mlkem.EncapsulationKeySize768]byte
}

// KeyAnswer answers a [KeyOffer].
//
//	id              8
//	ciphertext   1088   of ML-KEM-768; absent if the sender declines
type KeyAnswer struct {
	ID OfferID
	// Declined says that the sender wants no preshared keys.
	Declined   bool
	Ciphertext [mlkem.CiphertextSize768]byte
}

// Append implements [Message].
func (m KeyOffer) Append(dst []byte) []byte {
	dst = append(dst, typeKeyOffer, version)
	dst = append(dst, m.ID[:]...)
	return append(dst, m.Key[:]...)
}

func parseKeyOffer(v byte, body []byte) (Message, error) {
	if v != version {
		return nil, ErrUnknownType
	}
	if len(body) < offerSize {
		return nil, errShort("key offer", body)
	}
	var m KeyOffer
	copy(m.Key[:], body[copy(m.ID[:], body):])
	return m, nil
}

// Append implements [Message].
func (m KeyAnswer) Append(dst []byte) []byte {
	dst = append(dst, typeKeyAnswer, version)
	dst = append(dst, m.ID[:]...)
	if m.Declined {
		return dst
	}
	return append(dst, m.Ciphertext[:]...)
}

func parseKeyAnswer(v byte, body []byte) (Message, error) {
	if v != version {
		return nil, ErrUnknownType
	}
	m := KeyAnswer{Declined: len(body) == len(OfferID{})}
	if len(body) < answerSize && !m.Declined {
		return nil, errShort("key answer", body)
	}
	copy(m.Ciphertext[:], body[copy(m.ID[:], body):])
	return m, nil
}
