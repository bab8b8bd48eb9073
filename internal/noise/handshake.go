package noise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/meshnet-go/meshnet/key"
)

// Initiation is a handshake that a client has begun.
type Initiation struct {
	// Message is for the server, which gives it to [Accept].
	Message []byte

	state     *symmetric
	machine   key.MachinePrivate
	ephemeral key.MachinePrivate
	server    key.MachinePublic
	version   uint16
}

// Initiate begins the handshake of a client that has the given machine key
// with the server that holds the other half of server. The version is told to
// the server, and both must have understood the same one.
func Initiate(machine key.MachinePrivate, server key.MachinePublic, version uint16) (*Initiation, error) {
	if machine.IsZero() {
		return nil, errors.New("noise: no machine key")
	}
	s := newSymmetric(version)
	ephemeral := key.NewMachine()

	// <- s
	s.mixPublic(server)

	// -> e, es, s, ss
	msg := make([]byte, 0, initiationSize)
	msg = binary.BigEndian.AppendUint16(msg, version)
	msg = append(msg, typeInitiation)
	msg = binary.BigEndian.AppendUint16(msg, initiationSize-5)

	e := ephemeral.Public()
	msg = appendPublic(msg, e)
	s.mixPublic(e)
	k, err := s.mixDH(ephemeral, server) // es
	if err != nil {
		return nil, fmt.Errorf("noise: starting the handshake: %w", err)
	}
	msg = s.sealAndHash(k, msg, appendPublic(nil, machine.Public()))
	k, err = s.mixDH(machine, server) // ss
	if err != nil {
		return nil, fmt.Errorf("noise: starting the handshake: %w", err)
	}
	msg = s.sealAndHash(k, msg, nil)

	return &Initiation{msg, s, machine, ephemeral, server, version}, nil
}

// Finish reads the server's response from nc and returns the connection, which
// owns nc from then on. It can be called once. Nothing past the response is
// read, and the deadlines of nc are the caller's.
func (i *Initiation) Finish(nc net.Conn) (*Conn, error) {
	response, err := readResponse(nc)
	if err != nil {
		return nil, fmt.Errorf("noise: reading the server's handshake: %w", err)
	}
	tx, rx, err := i.keys(response)
	if err != nil {
		return nil, fmt.Errorf("noise: the server's handshake: %w", err)
	}
	return newConn(nc, i.server, i.version, tx, rx), nil
}

func (i *Initiation) keys(response [responseSize]byte) (tx, rx recordCipher, err error) {
	// <- e, ee, se
	s := i.state
	e := key.MachinePublicFromRaw32([key.Size]byte(response[headerSize:]))
	s.mixPublic(e)
	if _, err := s.mixDH(i.ephemeral, e); err != nil { // ee
		return tx, rx, err
	}
	k, err := s.mixDH(i.machine, e) // se
	if err != nil {
		return tx, rx, err
	}
	if _, err := s.openAndHash(k, response[headerSize+key.Size:]); err != nil {
		return tx, rx, err
	}
	tx.aead, rx.aead, err = s.split()
	return tx, rx, err
}

func readResponse(r io.Reader) (msg [responseSize]byte, err error) {
	if _, err := io.ReadFull(r, msg[:headerSize]); err != nil {
		return msg, err
	}
	switch n := binary.BigEndian.Uint16(msg[1:]); {
	case msg[0] == typeError:
		return msg, readError(r, int(n))
	case msg[0] != typeResponse:
		return msg, fmt.Errorf("unexpected message of type %d", msg[0])
	case n != responseSize-headerSize:
		return msg, fmt.Errorf("response of %d bytes", n)
	}
	_, err = io.ReadFull(r, msg[headerSize:])
	return msg, noEOF(err)
}

// readError returns what the server says went wrong.
func readError(r io.Reader, n int) error {
	text := make([]byte, min(n, maxErrorText))
	if _, err := io.ReadFull(r, text); err != nil {
		return noEOF(err)
	}
	return fmt.Errorf("the server refuses it: %q", text)
}

// Accept answers the initiation of a client on nc and returns the connection,
// which owns nc from then on. When it fails, the client is told why and nc is
// still the caller's, as are its deadlines.
//
// Whoever recorded an initiation can have it accepted again, but can neither
// read nor write a record: the client has proven itself when the first record
// has been read.
func Accept(nc net.Conn, machine key.MachinePrivate, message []byte) (*Conn, error) {
	c, response, err := accept(nc, machine, message)
	if err != nil {
		nc.Write(appendError(nil, err)) // it fails when the client is gone, too
		return nil, fmt.Errorf("noise: a client's handshake: %w", err)
	}
	if _, err := nc.Write(response); err != nil {
		return nil, fmt.Errorf("noise: answering a client's handshake: %w", err)
	}
	return c, nil
}

func accept(nc net.Conn, machine key.MachinePrivate, msg []byte) (*Conn, []byte, error) {
	if err := checkInitiation(msg); err != nil {
		return nil, nil, err
	}
	version := binary.BigEndian.Uint16(msg)
	s := newSymmetric(version)

	// <- s
	s.mixPublic(machine.Public())

	// -> e, es, s, ss
	e, msg := key.MachinePublicFromRaw32([key.Size]byte(msg[5:])), msg[5+key.Size:]
	s.mixPublic(e)
	k, err := s.mixDH(machine, e) // es
	if err != nil {
		return nil, nil, err
	}
	static, err := s.openAndHash(k, msg[:key.Size+tagSize])
	if err != nil {
		return nil, nil, err
	}
	client := key.MachinePublicFromRaw32([key.Size]byte(static))
	k, err = s.mixDH(machine, client) // ss
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.openAndHash(k, msg[key.Size+tagSize:]); err != nil {
		return nil, nil, err
	}

	response, tx, rx, err := respond(s, e, client)
	if err != nil {
		return nil, nil, err
	}
	return newConn(nc, client, version, tx, rx), response, nil
}

// respond makes the server's message to the client with those ephemeral and
// machine keys.
func respond(s *symmetric, clientEphemeral, client key.MachinePublic) (msg []byte, tx, rx recordCipher, err error) {
	// <- e, ee, se
	ephemeral := key.NewMachine()
	e := ephemeral.Public()
	msg = make([]byte, 0, responseSize)
	msg = appendHeader(msg, typeResponse, responseSize-headerSize)
	msg = appendPublic(msg, e)
	s.mixPublic(e)
	if _, err := s.mixDH(ephemeral, clientEphemeral); err != nil { // ee
		return nil, tx, rx, err
	}
	k, err := s.mixDH(ephemeral, client) // se
	if err != nil {
		return nil, tx, rx, err
	}
	msg = s.sealAndHash(k, msg, nil)
	rx.aead, tx.aead, err = s.split()
	return msg, tx, rx, err
}

func checkInitiation(msg []byte) error {
	switch {
	case len(msg) != initiationSize:
		return fmt.Errorf("initiation of %d bytes, want %d", len(msg), initiationSize)
	case msg[2] != typeInitiation:
		return fmt.Errorf("unexpected message of type %d", msg[2])
	case binary.BigEndian.Uint16(msg[3:]) != initiationSize-5:
		return errors.New("initiation with a wrong length in it")
	}
	return nil
}

func appendHeader(dst []byte, kind byte, n int) []byte {
	return binary.BigEndian.AppendUint16(append(dst, kind), uint16(n))
}

func appendError(dst []byte, err error) []byte {
	text := err.Error()
	text = text[:min(len(text), maxErrorText)]
	return append(appendHeader(dst, typeError, len(text)), text...)
}

func appendPublic(dst []byte, pub key.MachinePublic) []byte {
	raw := pub.Raw32()
	return append(dst, raw[:]...)
}

// noEOF is for reads in the middle of something.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
