// Package noise is the base transport of the control protocol (ts2021): an
// authenticated and encrypted [net.Conn] between a machine and its
// coordinator.
//
// It is Noise_IK_25519_ChaChaPoly_BLAKE2s (https://noiseprotocol.org/noise.html)
// as Tailscale's control/controlbase speaks it. The client knows the server's
// static key beforehand; the server learns the client's, its machine key, from
// the first message. That message travels inside an HTTP header, so making it
// ([Initiate]) and reading the answer to it ([Initiation.Finish]) are apart.
//
// All numbers are big-endian.
//
//	initiation, client to server, 101 bytes
//	  0        2     3        5                  37                     85       101
//	  | version | 01 | len 96 | ephemeral public | sealed machine public | sealed "" |
//
//	response, server to client, 51 bytes
//	  0    1        3                  35          51
//	  | 02 | len 48 | ephemeral public | sealed "" |
//
//	error, instead of a response; not authenticated, so no more than a hint
//	  0    1     3
//	  | 03 | len | text |
//
//	record, both ways, at most 4096 bytes
//	  0    1     3
//	  | 04 | len | sealed data |
//
// Sealed data is 16 bytes longer than its content. What differs from, or is
// left open by, the Noise specification:
//
//   - The prologue is "Tailscale Control Protocol v" and the version in
//     decimal. The version is the client's capability version.
//   - The nonce of a record is four zero bytes and the number of the record in
//     its direction as a big-endian number; Noise has it little-endian.
//   - Handshake payloads are empty, and records have no associated data.
package noise

import "golang.org/x/crypto/chacha20poly1305"

// Types of messages.
const (
	typeInitiation = 1
	typeResponse   = 2
	typeError      = 3
	typeRecord     = 4
)

// Sizes of messages and their parts, in bytes.
const (
	tagSize = chacha20poly1305.Overhead

	initiationSize = 101
	responseSize   = 51
	headerSize     = 3    // of all messages but the initiation: type and length
	maxRecord      = 4096 // with its header
	maxPlaintext   = maxRecord - headerSize - tagSize

	// maxErrorText is ours: what a server says before it is authenticated is
	// shown to people, who need no more.
	maxErrorText = 512
)
