package relay

import (
	"fmt"
	"testing"
	"time"
)

func TestQueueKeepsTheNewest(t *testing.T) {
	var q queue
	var b buffers
	start := time.Unix(1e9, 0)
	for round := range 3 {
		for i := range queueLen + 10 {
			q.push(outgoing{queued: start, buf: b.get(fmt.Append(nil, i))})
		}
		batch := q.take(nil, start.Add(maxWait))
		if len(batch) != queueLen {
			t.Fatalf("round %d: %d packets were kept", round, len(batch))
		}
		for i, o := range batch {
			if want := fmt.Sprint(i + 10); string(o.buf.data) != want {
				t.Fatalf("round %d: packet %d is %q, want %q", round, i, o.buf.data, want)
			}
			o.buf.release()
		}
	}
}

func TestQueueDropsWhatIsOld(t *testing.T) {
	var q queue
	var b buffers
	start := time.Unix(1e9, 0)
	q.push(outgoing{queued: start, buf: b.get([]byte("old"))})
	q.push(outgoing{queued: start.Add(time.Second), buf: b.get([]byte("new"))})
	batch := q.take(nil, start.Add(maxWait+time.Millisecond))
	if len(batch) != 1 || string(batch[0].buf.data) != "new" {
		t.Errorf("taken: %v", batch)
	}
	if len(q.take(nil, start)) > 0 {
		t.Error("something was taken twice")
	}
}
