package router

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

// device is one end of a wire without a kernel.
type device struct {
	io.Reader
	io.WriteCloser
}

func TestRouterDelaysWhatItPassesOn(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	fromA, intoRouter := io.Pipe()
	fromRouter, toB := io.Pipe()
	idle, _ := io.Pipe()
	const delay = 20 * time.Millisecond
	r := Start(Config{Hosts: []netip.Addr{a, b}, Ways: []Way{{a, b, Link{Delay: delay}}}}, []io.ReadWriteCloser{
		device{fromA, intoRouter}, device{idle, toB},
	})
	t.Cleanup(func() { r.Close(); idle.Close() })

	sent := make([]byte, 100)
	sent[0] = 0x45
	copy(sent[12:], a.AsSlice())
	copy(sent[16:], b.AsSlice())
	begin := wire.Now()
	if _, err := intoRouter.Write(sent); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(fromRouter, got); err != nil {
		t.Fatal(err)
	}
	if took := wire.Now() - begin; took < delay {
		t.Errorf("the packet took %v, which is less than %v", took, delay)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("what arrives is not what was sent: %x", got)
	}
}
