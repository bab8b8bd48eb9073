// Package load measures a coordinator with many streaming nodes. The nodes are
// in the process of the test, the coordinator is in one of its own:
//
//	go test ./coord/internal/load -v -timeout 30m -nodes 10000 -see 100
//	go test ./coord/internal/load -v -timeout 30m -nodes 1000 -see 1000
//
// Without flags it is small, and checks that it still works. Many nodes need
// as many open files in either process; see ulimit -n.
package load

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
)

var (
	nodes   = flag.Int("nodes", 60, "how many nodes stream")
	see     = flag.Int("see", 20, "how many of them see each other")
	changes = flag.Int("changes", 20, "how many changes are measured")
	child   = flag.String("serve", "", "be the coordinator, with its store in that folder")
)

// atOnce is how many nodes register and open their streams together.
const atOnce = 64

func TestMain(m *testing.M) {
	flag.Parse()
	if *child != "" {
		if err := serve(*child, (*nodes+*see-1) / *see); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	leak.Main(m)
}

func TestStreams(t *testing.T) {
	c := startCoordinator(t)
	start := time.Now()
	all := make([]*node, *nodes)
	each(t, len(all), func(i int) error {
		all[i] = newNode(c, c.AuthKeys[i / *see])
		return all[i].register(t.Context(), i)
	})
	t.Logf("%d nodes, of which %d see each other, registered in %v", *nodes, *see, time.Since(start).Round(time.Millisecond))

	before := c.memory(t)
	start = time.Now()
	m := &marks{}
	each(t, len(all), func(i int) error { return all[i].stream(t.Context(), m) })
	t.Cleanup(func() { // before the coordinator is ended
		for _, n := range all {
			n.close()
		}
	})
	t.Logf("all stream after %v", time.Since(start).Round(time.Millisecond))
	settle(t, all)
	after := c.memory(t)
	t.Logf("the coordinator has %.1f KiB of heap and stacks for each stream (%.0f MiB before, %.0f MiB after), resident %.0f MiB",
		float64(after.InUse-before.InUse)/1024/float64(*nodes), mib(before.InUse), mib(after.InUse), mib(after.Resident))
	measure(t, all, m)
}

// measure has nodes report, one after the other, and takes the time until the
// last node that may see the change has heard of it.
func measure(t *testing.T, all []*node, m *marks) {
	var last []time.Duration
	for i := range *changes {
		who := i * 7919 % len(all)
		group := who / *see
		watchers := min(*see, len(all)-group**see) - 1
		port := uint16(quietPort + 1 + i)
		done := m.expect(port, watchers)
		start := time.Now()
		if err := all[who].report(t.Context(), port); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatalf("change %d did not reach all of %d nodes within a minute", i, watchers)
		}
		last = append(last, time.Since(start))
	}
	slices.Sort(last)
	t.Logf("a change reached the last node that may see it after %v (median of %d; the slowest %v)",
		last[len(last)/2].Round(10*time.Microsecond), len(last), last[len(last)-1].Round(10*time.Microsecond))
}

// settle waits until the streams have nothing more to tell of each other.
func settle(t *testing.T, all []*node) {
	frames := func() (n int64) {
		for _, node := range all {
			n += node.frames.Load()
		}
		return n
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for was := int64(-1); ; {
		is := frames()
		if is == was {
			t.Logf("%d frames until all know of all that they may see", is)
			return
		}
		was = is
		<-ticker.C
	}
}

// each calls f for 0 to n-1, some at once.
func each(t *testing.T, n int, f func(int) error) {
	t.Helper()
	next := make(chan int)
	errs := make(chan error, n)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					errs <- fmt.Errorf("node %d: %w", i, err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
}

// marks are ports, by which changes are told apart, and the nodes that have yet
// to see them.
type marks struct {
	mu   sync.Mutex
	text []byte
	left int
	done chan struct{}
}

// markAddr is the address of the endpoints that mark changes.
var markAddr = netip.MustParseAddr("192.0.2.99")

func (m *marks) expect(port uint16, nodes int) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text, m.left, m.done = []byte(`"`+netip.AddrPortFrom(markAddr, port).String()+`"`), nodes, make(chan struct{})
	if nodes == 0 {
		close(m.done)
	}
	return m.done
}

// look counts a frame that has the mark.
func (m *marks) look(frame []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left > 0 && bytes.Contains(frame, m.text) {
		if m.left--; m.left == 0 {
			close(m.done)
		}
	}
}

func mib(n uint64) float64 { return float64(n) / (1 << 20) }
