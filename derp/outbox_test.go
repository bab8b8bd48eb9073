package derp

import (
	"fmt"
	"testing"

	"github.com/meshnet-go/meshnet/key"
)

func TestOutbox(t *testing.T) {
	var pool messages
	put := func(o *outbox, l lane, content string) {
		m := pool.get(FrameRecvPacket, key.NodePublic{}, len(content))
		copy(m.data, content)
		o.push(l, m)
	}
	wantNext := func(t *testing.T, o *outbox, want string) {
		t.Helper()
		got := "nothing"
		if m := o.pop(); m != nil {
			got = string(m.data)
		}
		if got != want {
			t.Fatalf("next is %q, want %q", got, want)
		}
	}

	t.Run("control goes first, disco and other in turns", func(t *testing.T) {
		o := newOutbox(&pool)
		for i := range 3 {
			put(o, laneOther, fmt.Sprint("other ", i))
			put(o, laneDisco, fmt.Sprint("disco ", i))
		}
		put(o, laneOther, "other 3")
		put(o, laneControl, "control")
		for _, want := range []string{"control", "disco 0", "other 0", "disco 1", "other 1", "disco 2", "other 2", "other 3", "nothing"} {
			wantNext(t, o, want)
		}
	})
	t.Run("what is new pushes out what is old in its lane", func(t *testing.T) {
		o := newOutbox(&pool)
		put(o, laneDisco, "disco")
		for i := range laneLen[laneOther] + 2 {
			put(o, laneOther, fmt.Sprint(i))
		}
		wantNext(t, o, "disco")
		for i := range laneLen[laneOther] {
			wantNext(t, o, fmt.Sprint(i+2))
		}
		wantNext(t, o, "nothing")
	})
	t.Run("large packets are fewer", func(t *testing.T) {
		o := newOutbox(&pool)
		for range laneLen[laneOther] {
			put(o, laneOther, string(make([]byte, MaxPacketSize)))
		}
		if n := o.lanes[laneOther].n; n != laneBytes/MaxPacketSize {
			t.Errorf("%d packets of %d bytes wait", n, MaxPacketSize)
		}
	})
	t.Run("closed", func(t *testing.T) {
		o := newOutbox(&pool)
		put(o, laneOther, "before")
		o.close()
		put(o, laneOther, "after")
		wantNext(t, o, "nothing")
	})
}
