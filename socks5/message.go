package socks5

import (
	"errors"
	"io"
)

// maxMessage is the size of the longest message of a handshake, a login.
const maxMessage = 1 + 1 + 255 + 1 + 255

// A sizeFunc returns how many bytes the message has that begins with b or, when
// b does not tell yet, how many are needed to know more.
type sizeFunc func(b []byte) (int, error)

// complete returns an error when b is not exactly one message.
func complete(b []byte, size sizeFunc) error {
	want, err := size(b)
	switch {
	case err != nil:
		return err
	case len(b) < want:
		return io.ErrUnexpectedEOF
	case len(b) > want:
		return errors.New("bytes after the end of the message")
	}
	return nil
}

// readMessage reads one message into buf, and not one byte of what follows it.
func readMessage(r io.Reader, buf []byte, size sizeFunc) ([]byte, error) {
	have := 0
	for {
		want, err := size(buf[:have])
		if err != nil || want == have {
			return buf[:have], err
		}
		if _, err := io.ReadFull(r, buf[have:want]); err != nil {
			if err == io.EOF && have > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		have = want
	}
}
