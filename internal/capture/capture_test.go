package capture

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
	"github.com/meshnet-go/meshnet/internal/pcapng"
)

func TestMain(m *testing.M) { leak.Main(m) }

var packet = pcapng.Packet{Time: time.Unix(1, 0), Data: []byte("packet"), Size: 6}

func TestPacketsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got bytes.Buffer
		c := New(&got, []byte("a header"))
		synctest.Wait()
		if got.String() != "a header" {
			t.Errorf("at first %q is written", got.String())
		}
		want := []byte("a header")
		for _, text := range []string{"one", "two", "three"} {
			p := packet
			p.Data = []byte(text)
			c.Add(p)
			want = pcapng.AppendPacket(want, p)
			synctest.Wait()
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("got %q, want %q", got.Bytes(), want)
		}
		want = pcapng.AppendStatistics(want, time.Now(), 3, 0)
		if err := c.Stop(); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("after Stop: %v, %q, want %q", err, got.Bytes(), want)
		}
		c.Add(packet)
		c.Stop()
		if packets, lost := c.Counts(); packets != 3 || lost != 0 || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("after the end: %d packets, %d lost", packets, lost)
		}
	})
}

// A writer that stands still keeps nobody waiting.
func TestSlowWriterLosesPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		c := New(w, []byte("a header"))
		synctest.Wait() // for the Write, which nobody reads
		size := len(pcapng.AppendPacket(nil, packet))
		fits := 0
		for {
			c.Add(packet)
			if _, lost := c.Counts(); lost > 0 {
				break
			}
			fits++
		}
		if fits < bufferSize/size-2 {
			t.Errorf("room for %d packets of %d bytes", fits, size)
		}
		var got []byte
		read := make(chan struct{})
		go func() {
			got, _ = io.ReadAll(r)
			close(read)
		}()
		synctest.Wait()
		c.Add(packet)
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		w.Close()
		<-read
		after := packet
		after.Lost = 1
		want := pcapng.AppendStatistics(pcapng.AppendPacket(nil, after), time.Now(), uint64(fits)+2, 1)
		if !bytes.HasSuffix(got, want) {
			t.Errorf("the file ends with %x, want %x", got[len(got)-len(want):], want)
		}
	})
}

type brokenWriter struct{}

var errBroken = errors.New("no space left")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriterFails(t *testing.T) {
	c := New(brokenWriter{}, []byte("a header"))
	<-c.Done()
	c.Add(packet)
	if err := c.Stop(); !errors.Is(err, errBroken) {
		t.Errorf("Stop: %v", err)
	}
	if packets, _ := c.Counts(); packets != 0 {
		t.Errorf("%d packets after the end", packets)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	c := New(io.Discard, nil)
	defer c.Stop()
	if n := testing.AllocsPerRun(1000, func() { c.Add(packet) }); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	c := New(io.Discard, nil)
	defer c.Stop()
	p := pcapng.Packet{Data: make([]byte, 1280), Size: 1280}
	b.ReportAllocs()
	for b.Loop() {
		p.Time = time.Now()
		c.Add(p)
	}
}
