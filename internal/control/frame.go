package control

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

const (
	// maxFrame is ours. The full map of a tailnet of 10,000 nodes is around
	// 10 MB.
	maxFrame = 64 << 20
	// keepBuffer is how large the buffer may be between frames: full maps are
	// rare, and changes are small.
	keepBuffer = 1 << 20
	// firstRead is how much of a frame there is room for before any has come.
	firstRead = 4 << 10

	// The bounds of a frame's objects and list elements are ours, too: an empty
	// object has two bytes in JSON and several hundred in memory, so that maxFrame
	// alone would allow for gigabytes. 10,000 nodes have around 100,000 objects
	// and a million elements.
	maxObjects  = 1 << 19
	maxElements = 1 << 22
)

// frameReader splits the body of a map stream:
//
//	| length, little-endian uint32 | that many bytes of JSON | ...
type frameReader struct {
	r   io.Reader
	buf []byte
}

// next returns the next frame, which is valid until the call after. The end
// of the stream between two frames is io.EOF.
func (f *frameReader) next() ([]byte, error) {
	if cap(f.buf) > keepBuffer {
		f.buf = nil // before the next one comes, which may be in a minute
	}
	var header [4]byte
	if _, err := io.ReadFull(f.r, header[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(header[:])
	if n == 0 || n > maxFrame {
		return nil, fmt.Errorf("frame of %d bytes", n)
	}
	// The buffer grows with what has come, not by what n promises.
	f.buf = f.buf[:0]
	for have := 0; have < int(n); have = len(f.buf) {
		most := min(int(n), max(firstRead, 4*have))
		f.buf = slices.Grow(f.buf, most-have)[:most]
		if _, err := io.ReadFull(f.r, f.buf[have:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return f.buf, nil
}

// parseMap reads the content of a frame.
func parseMap(frame []byte) (*tailcfg.MapResponse, error) {
	if bytes.Count(frame, []byte("{")) > maxObjects || bytes.Count(frame, []byte(",")) > maxElements {
		return nil, fmt.Errorf("a frame of %d bytes with too much in it", len(frame))
	}
	m := new(tailcfg.MapResponse)
	if err := json.Unmarshal(frame, m); err != nil {
		return nil, fmt.Errorf("a frame that is not a map response: %w", err)
	}
	return m, nil
}
