package control

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// The first bytes that a coordinator sends may be these, the length of
	// what follows as a big-endian uint32, and that many bytes of JSON.
	earlyMagic = "\xff\xff\xffTS"
	// Together they are as long as the header of an HTTP/2 frame, which is
	// what the first bytes are otherwise.
	earlyHeader = len(earlyMagic) + 4

	maxEarly = 10 << 20 // as Tailscale has it
)

// earlyConn is a Noise connection whose early payload is skipped: it holds a
// challenge that nothing uses. That happens at the first Read and not before,
// because a coordinator that has none may wait for us to begin.
//
// It has one reader, the HTTP/2 client.
type earlyConn struct {
	prefixed
	skipped bool
}

func (c *earlyConn) Read(p []byte) (int, error) {
	if !c.skipped {
		rest, err := skipEarly(c.Conn)
		if err != nil {
			return 0, err
		}
		c.rest, c.skipped = rest, true
	}
	return c.prefixed.Read(p)
}

// skipEarly reads the early payload, if there is one, and returns what it read
// beyond.
func skipEarly(r io.Reader) (rest []byte, err error) {
	header := make([]byte, earlyHeader)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	if string(header[:len(earlyMagic)]) != earlyMagic {
		return header, nil
	}
	n := binary.BigEndian.Uint32(header[len(earlyMagic):])
	if n > maxEarly {
		return nil, fmt.Errorf("the coordinator begins with a payload of %d bytes", n)
	}
	_, err = io.CopyN(io.Discard, r, int64(n))
	return nil, err
}
