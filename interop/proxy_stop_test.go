package interop

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
)

// stopsGracefully ends a proxy while curl downloads through it: the downloads
// are completed, nobody new is let in, and the process ends with code 0,
// having logged none of its secrets.
func (n *proxyNet) stopsGracefully(t *testing.T, p *proxy) {
	t.Helper()
	page := n.web.hold(strings.NewReplacer(":", "-", "[", "", "]", "").Replace(p.addr))
	hows := []string{"--socks5-hostname", "--proxy", "--proxy"}
	urls := []string{"http://web" + page.path, "http://web" + page.path, "https://web" + page.path}
	p.try(t, "SIGTERM", "lets downloads finish", func(ctx context.Context) (string, error) {
		downloads := make(chan error, len(hows))
		for i, how := range hows {
			go func() { downloads <- p.download(ctx, how, urls[i]) }()
		}
		for range hows {
			select {
			case <-page.begun:
			case err := <-downloads:
				return "", fmt.Errorf("a download ended before its first half: %w", err)
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		if err := p.process.terminate(); err != nil {
			return "", err
		}
		if err := p.refuses(ctx); err != nil {
			return "", err
		}
		close(page.release)
		for i := range hows {
			if err := <-downloads; err != nil {
				return "", fmt.Errorf("download %d: %w", i, err)
			}
		}
		return "", p.process.end(ctx)
	})
	p.try(t, "log", "has no secrets", func(context.Context) (string, error) {
		text := p.process.output.String()
		for _, secret := range p.secrets {
			if strings.Contains(text, secret) {
				return "", errors.New("it has one")
			}
		}
		return fmt.Sprintf("%d lines", strings.Count(text, "\n")), nil
	})
}

// stopsAtOnce ends a proxy that has an hour for its connections to end, with a
// second signal.
func (n *proxyNet) stopsAtOnce(t *testing.T, p *proxy) {
	t.Helper()
	page := n.web.hold("for-an-hour")
	p.try(t, "SIGTERM", "twice ends it at once", func(ctx context.Context) (string, error) {
		download := make(chan error, 1)
		go func() { download <- p.download(ctx, "--socks5-hostname", "http://web"+page.path) }()
		select {
		case <-page.begun:
		case err := <-download:
			return "", fmt.Errorf("the download ended before its first half: %w", err)
		}
		for range 2 {
			if err := p.process.terminate(); err != nil {
				return "", err
			}
			if err := p.refuses(ctx); err != nil {
				return "", err
			}
		}
		<-p.process.exited
		if err := <-download; err == nil {
			return "", errors.New("the download was completed")
		}
		return "", ctx.Err()
	})
}

// download fetches a held page, and checks it.
func (p *proxy) download(ctx context.Context, how, url string) error {
	h := sha256.New()
	cmd := command(ctx, nil, "curl", p.curlArgs(how, url)...)
	cmd.Stdout = h
	r, err := run(cmd)
	if err == nil {
		err = r.ends(0, "")
	}
	if got, want := fmt.Sprintf("%x", h.Sum(nil)), sum(content(2*heldSize)); err == nil && got != want {
		err = fmt.Errorf("the checksum is %s, not %s", got, want)
	}
	return err
}

// refuses waits until the proxy's port is closed.
func (p *proxy) refuses(ctx context.Context) error {
	return poll(ctx, func(context.Context) error {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			return nil
		}
		c.Close()
		return errors.New("it still accepts connections")
	})
}
