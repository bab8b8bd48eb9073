package socks5

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const ftpAddr = "100.64.0.9:2121"

// A binder is the Listen hook of tests: every listener is at ftpAddr.
type binder struct {
	networks  chan string
	listeners chan *memListener
}

func newBinder() *binder {
	return &binder{make(chan string, 10), make(chan *memListener, 10)}
}

func (b *binder) Listen(_ context.Context, network, address string) (net.Listener, error) {
	if address != ":0" {
		return nil, errors.New("listen at " + address)
	}
	ln := listenMem(ftpAddr)
	b.networks <- network
	b.listeners <- ln
	return ln, nil
}

func (b *binder) server() *Server {
	return &Server{Dial: meshTargets.Dial, Listen: b.Listen}
}

func TestBind(t *testing.T) {
	for _, test := range []struct {
		host    string
		from    string
		network string
	}{
		{"100.64.0.1", "100.64.0.1:20", "tcp4"},
		{"::ffff:100.64.0.1", "100.64.0.1:20", "tcp4"},
		{"fd7a::1", "[fd7a::1]:20", "tcp6"},
		{"0.0.0.0", "100.64.0.7:20", "tcp4"},
		{"::", "[fd7a::7]:20", "tcp6"},
		{"ftp.mesh", "100.64.0.3:20", "tcp4"},
	} {
		t.Run(test.host, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBinder()
				s := b.server()
				s.Resolve = func(_ context.Context, network, host string) ([]netip.Addr, error) {
					if network != "ip" || host != "ftp.mesh" {
						t.Errorf("%s was resolved as %s", host, network)
					}
					return []netip.Addr{netip.MustParseAddr("100.64.0.2"), netip.MustParseAddr("100.64.0.3")}, nil
				}
				c := newProxy(t, s).connect(t)
				c.request(Bind, test.host, 21)
				c.want("the first reply has the listener's address", reply(succeeded, ftpAddr))
				if got := <-b.networks; got != test.network {
					t.Errorf("listened on %s, want %s", got, test.network)
				}
				ln := <-b.listeners
				far := &client{ln.dial(test.from), t}
				c.want("the second reply has the address that connected", reply(succeeded, test.from))
				if ln.dial(test.from) != nil {
					t.Error("a second connection was taken")
				}
				c.send([]byte("RETR"))
				c.Conn.(*memConn).CloseWrite()
				far.want("bytes go to the far side", []byte("RETR"))
				far.wantEnd("and the end after them")
				far.send([]byte("file"))
				far.Close()
				c.want("bytes come back", []byte("file"))
				c.wantEnd("and their end")
			})
		})
	}
}

func TestBindTakesOnlyTheHostThatWasNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBinder()
		c := newProxy(t, b.server()).connect(t)
		c.request(Bind, "100.64.0.1", 21)
		c.want("the first reply", reply(succeeded, ftpAddr))
		ln := <-b.listeners
		for _, from := range []string{"100.64.0.2:20", "[fd7a::1]:20", "[::]:20"} {
			stranger := &client{ln.dial(from), t}
			stranger.wantEnd("a stranger is sent away")
		}
		ln.dial("100.64.0.1:5")
		c.want("the one who was named is taken", reply(succeeded, "100.64.0.1:5"))
	})
}

func TestBindThatNobodyConnectsTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBinder()
		s := b.server()
		s.DialTimeout = time.Minute
		c := newProxy(t, s).connect(t)
		begin := time.Now()
		c.request(Bind, "100.64.0.1", 21)
		c.want("the first reply", reply(succeeded, ftpAddr))
		c.want("the second tells of the timeout", failed(ttlExpired))
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("the wait took %v", took)
		}
		if ln := <-b.listeners; ln.dial("100.64.0.1:5") != nil {
			t.Error("the listener is still open")
		}
	})
}

func TestBindEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBinder()
		p := newProxy(t, b.server())
		c := p.connect(t)
		c.request(Bind, "100.64.0.1", 21)
		c.want("the first reply", reply(succeeded, ftpAddr))
		c.Close()
		synctest.Wait()
		if ln := <-b.listeners; ln.dial("100.64.0.1:5") != nil {
			t.Error("the listener is still open")
		}
		if log := p.log.String(); !strings.Contains(log, errClientGone.Error()) {
			t.Errorf("the log says %s", log)
		}
	})
}

func TestBindEndsWithAClientThatSentEarly(t *testing.T) {
	for _, test := range []struct {
		early int
		leave bool
		log   string
	}{
		{1, true, errClientGone.Error()},
		{maxEarly, true, errClientGone.Error()},
		{maxEarly + 1, false, "before it is connected"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBinder()
			p := newProxy(t, b.server())
			c := p.connect(t)
			begin := time.Now()
			c.request(Bind, "100.64.0.1", 21)
			c.want("the first reply", reply(succeeded, ftpAddr))
			c.send(make([]byte, test.early))
			if !test.leave {
				c.want("the second reply", failed(generalFailure))
				c.wantEnd("and the end")
			}
			c.Close()
			synctest.Wait()
			if log := p.log.String(); !strings.Contains(log, test.log) || time.Since(begin) != 0 {
				t.Errorf("with %d bytes early, after %v the log says %s", test.early, time.Since(begin), log)
			}
		})
	}
}

func TestBindKeepsWhatTheClientSendsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBinder()
		c := newProxy(t, b.server()).connect(t)
		c.request(Bind, "100.64.0.1", 21)
		c.want("the first reply", reply(succeeded, ftpAddr))
		go c.Write([]byte("early"))
		synctest.Wait()
		far := &client{(<-b.listeners).dial("100.64.0.1:5"), t}
		c.want("the second reply", reply(succeeded, "100.64.0.1:5"))
		far.want("nothing is lost", []byte("early"))
	})
}

func TestBindFailures(t *testing.T) {
	notFound := &net.DNSError{Err: "no such host", IsNotFound: true}
	for _, test := range []struct {
		name    string
		host    string
		resolve func(context.Context, string, string) ([]netip.Addr, error)
		listen  error
		want    replyCode
	}{
		{"a name without Resolve", "ftp.mesh", nil, nil, hostUnreachable},
		{"an unknown name", "ftp.mesh", func(context.Context, string, string) ([]netip.Addr, error) { return nil, notFound }, nil, hostUnreachable},
		{"a name without addresses", "ftp.mesh", func(context.Context, string, string) ([]netip.Addr, error) { return nil, nil }, nil, hostUnreachable},
		{"no listener", "0.0.0.0", nil, errors.New("no ports left"), generalFailure},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{Dial: meshTargets.Dial, Resolve: test.resolve}
			s.Listen = func(context.Context, string, string) (net.Listener, error) {
				if test.listen == nil {
					t.Errorf("%s: listened", test.name)
				}
				return nil, test.listen
			}
			c := newProxy(t, s).connect(t)
			c.request(Bind, test.host, 21)
			c.want(test.name, failed(test.want))
			c.wantEnd(test.name)
		})
	}
}
