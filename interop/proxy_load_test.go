package interop

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// thousandConnections are open at once, while one more has a reader that
// stands still until all the others are done.
func (n *proxyNet) thousandConnections(t *testing.T, p *proxy) {
	t.Helper()
	const many = 1000
	p.try(t, "1000 × SOCKS5", "beside a slow reader", func(ctx context.Context) (string, error) {
		before, err := p.process.descriptors()
		if err != nil {
			return "", err
		}
		slow, err := p.dial(ctx, net.JoinHostPort("web", chargenPort))
		if err != nil {
			return "", fmt.Errorf("the slow reader: %w", err)
		}
		defer slow.Close()
		begin := time.Now()
		if err := p.echoes(ctx, many); err != nil {
			return "", err
		}
		took, memory := time.Since(begin).Round(time.Millisecond), p.process.memory()
		const some = 8 << 20 // more than all the buffers on the way
		if got, want := sum(io.LimitReader(slow, some)), sum(content(some)); got != want {
			return "", fmt.Errorf("the slow reader gets %s, not %s", got, want)
		}
		slow.Close()
		return fmt.Sprintf("%v, %s resident", took, memory), p.givesBack(ctx, before)
	})
}

// echoes opens connections until there are so many, sends and receives twice
// on every one while all are open, and closes them.
func (p *proxy) echoes(ctx context.Context, many int) error {
	conns := make([]stream, many)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	if err := each(many, func(i int) (err error) {
		conns[i], err = p.dial(ctx, net.JoinHostPort("web", echoPort))
		return err
	}); err != nil {
		return fmt.Errorf("dialing: %w", err)
	}
	for range 2 {
		if err := each(many, func(i int) error {
			return carry(conns[i], conns[i], strings.Repeat(fmt.Sprintf("%4d ", i), 200))
		}); err != nil {
			return err
		}
	}
	return nil
}

// each runs f for the numbers below n and returns how it failed. It runs for so
// many at a time as fit the queues of a relay: what does not is lost, and TCP
// waits for seconds before it sends the first packets of a connection again.
func each(n int, f func(int) error) error {
	const atOnce = 50
	var (
		running = make(chan struct{}, atOnce)
		wg      sync.WaitGroup
		mu      sync.Mutex
		failed  int
		first   error
	)
	for i := range n {
		running <- struct{}{}
		wg.Go(func() {
			defer func() { <-running }()
			if err := f(i); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed++
				first = cmp.Or(first, err)
			}
		})
	}
	wg.Wait()
	if failed > 0 {
		return fmt.Errorf("%d of %d failed: %w", failed, n, first)
	}
	return nil
}

// givesBack waits until the process has no more open files than before, but
// for a few.
func (p *proxy) givesBack(ctx context.Context, before int) error {
	return poll(ctx, func(context.Context) error {
		now, err := p.process.descriptors()
		if err == nil && now > before+10 {
			err = fmt.Errorf("the proxy has %d open files, and had %d", now, before)
		}
		return err
	})
}

// half are beginnings of what clients say, after which nothing comes.
var half = []string{
	"",
	"\x05",
	"\x05\x02\x00",
	"\x05\x01\x00",
	"\x05\x01\x00\x05\x01",
	"\x05\x01\x00\x05\x01\x00\x03\x10web",
	"\x05\x01\x02\x01\x05alice\x10",
	"\x04\x01\x00\x50",
	"GET",
	"GET http://web/told HTTP/1.1\r\nHost: we",
	"CONNECT web:80 HTTP/1.1\r\nProxy-Authorization: Bas",
	"\x16\x03\x01\x02\x00\x01", // TLS
}

// strange are connections that keep a proxy waiting.
type strange struct {
	conns []net.Conn
}

// beStrange opens many connections to a proxy that never say enough. They stay
// open while everything else is tried.
func beStrange(t *testing.T, p *proxy) *strange {
	t.Helper()
	s := &strange{}
	t.Cleanup(func() {
		for _, c := range s.conns {
			c.Close()
		}
	})
	for range 25 {
		for _, text := range half {
			c, err := net.Dial("tcp", p.addr)
			check(t, "the proxy accepts a connection", err)
			s.conns = append(s.conns, c)
			_, err = io.WriteString(c, text)
			check(t, "the proxy takes half a request", err)
		}
	}
	return s
}

// areDismissed waits until the proxy has closed every one of the connections.
func (s *strange) areDismissed(t *testing.T, p *proxy) {
	t.Helper()
	p.try(t, "half requests", fmt.Sprintf("%d are dismissed", len(s.conns)), func(ctx context.Context) (string, error) {
		for i, c := range s.conns {
			deadline, _ := ctx.Deadline()
			c.SetReadDeadline(deadline)
			if _, err := io.Copy(io.Discard, c); isTimeout(err) {
				return "", fmt.Errorf("after %q: %w", half[i%len(half)], err)
			}
		}
		return "", nil
	})
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// hostileClients say what no client should while curl goes about its business.
func (n *proxyNet) hostileClients(t *testing.T, p *proxy) {
	t.Helper()
	for _, c := range []struct {
		what   string
		attack func(context.Context, int) error
	}{
		{"garbage", p.garbage},
		{"endless header", p.endlessHeader},
		{"header byte by byte", p.slowLoris},
		{"many greetings at once", p.greetAgain},
	} {
		p.try(t, "hostile", c.what, func(ctx context.Context) (string, error) {
			before, err := p.process.descriptors()
			if err != nil {
				return "", err
			}
			attacked := make(chan error, 1)
			go func() {
				attacked <- each(60, func(i int) error { return c.attack(ctx, i) })
			}()
			for _, how := range []string{"--socks5-hostname", "--proxy", "--proxy"} {
				r, err := p.curl(ctx, how, "http://web/told")
				if err == nil {
					err = r.says(told)
				}
				if err != nil {
					return "", fmt.Errorf("curl meanwhile: %w", err)
				}
			}
			if err := <-attacked; err != nil {
				return "", err
			}
			return p.process.memory() + " resident", p.givesBack(ctx, before)
		})
	}
}

// attack sends bytes, and the end of them, and returns what the proxy answers
// before it closes the connection.
func (p *proxy) attack(ctx context.Context, text io.Reader) ([]byte, error) {
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	var sending sync.WaitGroup
	sending.Go(func() {
		io.Copy(c, text)
		c.(stream).CloseWrite()
	})
	answer, err := io.ReadAll(c)
	c.Close()
	sending.Wait()
	if isTimeout(err) {
		return answer, err
	}
	return answer, nil // a reset is an answer too
}

// garbage begins as one of the protocols does, or with any byte.
func (p *proxy) garbage(ctx context.Context, i int) error {
	random := rand.New(rand.NewPCG(uint64(i), 0))
	text := make([]byte, random.IntN(4096))
	for i := range text {
		text[i] = byte(random.Uint32())
	}
	beginning := []string{"\x05", "\x05\x01\x00", "\x05\x01\x00\x05\x01\x00\x03", "\x04", "GET ", "CONNECT ", "GET http://web/ HTTP/1.1\r\n", ""}[i%8]
	answer, err := p.attack(ctx, io.MultiReader(strings.NewReader(beginning), bytes.NewReader(text)))
	if err == nil && bytes.Contains(answer, []byte(" 200 ")) {
		err = fmt.Errorf("%q%q was answered %q", beginning, text, answer)
	}
	return err
}

// endlessHeader never comes to an end of its header. The proxy must not keep
// it all.
func (p *proxy) endlessHeader(ctx context.Context, i int) error {
	const size = 64 << 20
	beginning := []string{"GET http://web/", "GET http://web/ HTTP/1.1\r\nX: ", "CONNECT web:80 HTTP/1.1\r\nX: "}[i%3]
	sent := &counter{}
	_, err := p.attack(ctx, io.MultiReader(strings.NewReader(beginning), io.TeeReader(io.LimitReader(letters{}, size), sent)))
	if err == nil && sent.n == size {
		err = fmt.Errorf("the proxy took %d bytes after %q", sent.n, beginning)
	}
	return err
}

// slowLoris sends a request one byte at a time, each in a packet of its own,
// and leaves before the end.
func (p *proxy) slowLoris(ctx context.Context, i int) error {
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	text := []string{"GET http://web/told HTTP/1.1\r\nHost: web\r\n", "\x05\x01\x00\x05\x01\x00\x03\x03we"}[i%2]
	for i := range text {
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// greetAgain sends greeting, request and the request of the page in one piece,
// without waiting for an answer, and thrice.
func (p *proxy) greetAgain(ctx context.Context, _ int) error {
	const greeting, request = "\x05\x01\x00", "\x05\x01\x00\x03\x03web\x00\x50"
	answer, err := p.attack(ctx, strings.NewReader(strings.Repeat(greeting+request, 3)))
	if err == nil && !bytes.HasPrefix(answer, []byte("\x05\x00\x05\x00")) {
		err = fmt.Errorf("it was answered %q", answer)
	}
	return err
}

// letters is without an end.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

// counter counts what is written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
