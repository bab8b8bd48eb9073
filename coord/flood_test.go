package coord

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
)

// TestWaitingIsCheap has a machine that nobody knows wait for approval, many
// times over, with as much to say as requests may hold.
func TestWaitingIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		m := ts.machine()
		url := m.register(request(m.node, "web", "")).AuthURL
		head := `{"Version":130,"NodeKey":"` + m.node.String() + `","Followup":"` + url + `","Hostinfo":{"Services":[{}`
		body := []byte(head + strings.Repeat(",{}", (maxBody-len(head)-10)/3) + `]}}`)
		before := heap()
		for range 30 {
			go func() {
				if resp, err := m.post(t.Context(), "/machine/register", body); err == nil {
					resp.Body.Close()
				}
			}()
			synctest.Wait()
		}
		if grew := heap() - before; grew > 8<<20 {
			t.Errorf("they take %d MiB", grew>>20)
		}
		ts.stop()
	})
}

// TestLongNames has nodes whose names are as long as requests may be.
func TestLongNames(t *testing.T) {
	s := testState()
	before := heap()
	for range 100 {
		s.join(t, strings.Repeat("x", maxBody))
	}
	if grew := heap() - before; grew > 2<<20 {
		t.Errorf("100 nodes take %d KiB", grew>>10)
	}
	runtime.KeepAlive(s)
}

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
