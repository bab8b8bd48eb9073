package coord

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestAppendZstd(t *testing.T) {
	for _, size := range []int{0, 1, maxBlock - 1, maxBlock, maxBlock + 1, 3 * maxBlock, 1<<20 + 7} {
		content := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		frame := appendZstd([]byte("before"), content)
		rest, ok := bytes.CutPrefix(frame, []byte("before\x28\xb5\x2f\xfd\xa0"))
		if !ok || binary.LittleEndian.Uint32(rest) != uint32(size) {
			t.Fatalf("%d bytes: the frame begins with % x", size, frame[:20])
		}
		if got := storedBlocks(t, rest[4:]); !bytes.Equal(got, content) {
			t.Errorf("%d bytes: the blocks hold other content", size)
		}
	}
}

// unzstd returns the content of a frame of stored blocks.
func unzstd(t *testing.T, frame []byte) []byte {
	t.Helper()
	rest, ok := bytes.CutPrefix(frame, []byte("\x28\xb5\x2f\xfd\xa0"))
	if !ok || len(rest) < 4 {
		t.Fatalf("not a zstd frame: % .20x", frame)
	}
	return storedBlocks(t, rest[4:])
}

func storedBlocks(t *testing.T, blocks []byte) (content []byte) {
	t.Helper()
	for {
		header := uint32(blocks[0]) | uint32(blocks[1])<<8 | uint32(blocks[2])<<16
		size := header >> 3
		if header>>1&3 != 0 || size > maxBlock {
			t.Fatalf("block of type %d and size %d", header>>1&3, size)
		}
		content = append(content, blocks[3:3+size]...)
		if blocks = blocks[3+size:]; header&1 == 1 {
			break
		}
	}
	if len(blocks) != 0 {
		t.Fatalf("%d bytes after the last block", len(blocks))
	}
	return content
}
