package control

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

func TestFrames(t *testing.T) {
	large := strings.Repeat("x", keepBuffer+1)
	var stream []byte
	for _, text := range []string{"a", large, "bc"} {
		stream = append(binary.LittleEndian.AppendUint32(stream, uint32(len(text))), text...)
	}
	f := frameReader{r: bytes.NewReader(stream)}
	for _, want := range []string{"a", large, "bc"} {
		if got, err := f.next(); string(got) != want || err != nil {
			t.Fatalf("%d bytes, %v, want %d", len(got), err, len(want))
		}
	}
	if cap(f.buf) > keepBuffer {
		t.Errorf("keeps a buffer of %d bytes", cap(f.buf))
	}
	if _, err := f.next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestALargeFrameIsNotKeptWhileTheNextIsAwaited(t *testing.T) {
	text := strings.Repeat("x", keepBuffer+1)
	stream := append(binary.LittleEndian.AppendUint32(nil, uint32(len(text))), text...)
	f := frameReader{r: bytes.NewReader(stream)}
	if got, err := f.next(); string(got) != text || err != nil {
		t.Fatalf("%d bytes, %v, want %d", len(got), err, len(text))
	}
	if _, err := f.next(); err != io.EOF || cap(f.buf) != 0 {
		t.Errorf("keeps a buffer of %d bytes (%v)", cap(f.buf), err)
	}
}

func TestFrameThatOnlyPromises(t *testing.T) {
	stream := append(binary.LittleEndian.AppendUint32(nil, maxFrame), "not much"...)
	f := frameReader{r: bytes.NewReader(stream)}
	if _, err := f.next(); err != io.ErrUnexpectedEOF {
		t.Errorf("%v, want an unexpected EOF", err)
	}
	if n := cap(f.buf); n > 4096 {
		t.Errorf("allocates %d bytes for a promise", n)
	}
}

func TestFramesWithTooMuch(t *testing.T) {
	for what, frame := range map[string][]byte{
		"objects":  repeated(`{"Peers":[`, `{}`, maxObjects, `]}`),
		"elements": repeated(`{"Node":{"CapMap":{"a":[`, `1`, maxElements+2, `]}}}`),
	} {
		if _, err := parseMap(frame); err == nil {
			t.Errorf("a frame of %d bytes with too many %s is read", len(frame), what)
		}
	}
	if m, err := parseMap(repeated(`{"Peers":[`, `{}`, 1000, `]}`)); err != nil || len(m.Peers) != 1000 {
		t.Errorf("a frame with 1000 objects: %v", err)
	}
}

// repeated returns a list of n elements between begin and end.
func repeated(begin, element string, n int, end string) []byte {
	return []byte(begin + strings.Repeat(element+",", n-1) + element + end)
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00{}\x03\x00\x00\x00nil"))
	f.Add([]byte("\x00\x00\x00\x00"))
	f.Add([]byte("\xff\xff\xff\xff{}"))
	f.Add([]byte("\x00\x00\x00\x04{}"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		frames := frameReader{r: bytes.NewReader(stream)}
		var again []byte
		for {
			frame, err := frames.next()
			if err != nil {
				break
			}
			if len(frame) == 0 {
				t.Fatal("an empty frame")
			}
			again = append(binary.LittleEndian.AppendUint32(again, uint32(len(frame))), frame...)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Errorf("reads %q from %q", again, stream)
		}
	})
}

func FuzzSkipEarly(f *testing.F) {
	f.Add([]byte(earlyMagic + "\x00\x00\x00\x02{}PRI"))
	f.Add([]byte(earlyMagic + "\xff\xff\xff\xff{}"))
	f.Add([]byte("\x00\x00\x12\x04\x00\x00\x00\x00\x00rest"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bytes.NewReader(stream)
		rest, err := skipEarly(r)
		left, _ := io.ReadAll(r)
		if rest = append(rest, left...); err == nil && !bytes.HasSuffix(stream, rest) {
			t.Errorf("%q becomes %q", stream, rest)
		}
	})
}
