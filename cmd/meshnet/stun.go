package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/internal/serve"
)

// A stunConfig is the flag of commands that serve STUN.
type stunConfig struct {
	port  int
	given bool
	off   bool
}

const usualSTUN = 3478

func (c *stunConfig) addFlags(fs *flag.FlagSet) {
	fs.Func("stun", "UDP `PORT` of STUN, by which nodes learn their addresses; a second STUN is on\nthe next port. 0 is any port, and \"off\" none (default 3478; 0 when nobody but\nthis machine comes, by -listen and -url)", func(text string) error {
		c.given = true
		if c.off = text == "off"; c.off || text == "0" {
			c.port = 0
			return nil
		}
		if !isPort(text) || text == "65535" {
			return errors.New("want a port below 65535, 0 or off")
		}
		c.port, _ = strconv.Atoi(text)
		return nil
	})
}

// portFor returns the first port beside a web server; 0 is any.
func (c *stunConfig) portFor(f *front) int {
	if !c.given && f.public() {
		return usualSTUN
	}
	return c.port
}

// hostFor returns the host of the addresses beside a web server; "" is all of
// them: a proxy through which others come passes on no UDP.
func hostFor(f *front) string {
	host, _, err := net.SplitHostPort(f.ln.Addr().String())
	if err != nil || serve.Local(f.ln.Addr()) && f.public() {
		return ""
	}
	return host
}

// serve answers STUN beside a web server, and returns on which ports.
func (c *stunConfig) serve(f *front, log *slog.Logger) (ports []int, stop func(), err error) {
	if c.off {
		return nil, func() {}, nil
	}
	port, host := c.portFor(f), hostFor(f)
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	stop = func() {
		cancel()
		running.Wait()
	}
	for i := range 2 {
		wanted := port
		if port != 0 {
			wanted += i
		}
		pc, err := net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(wanted)))
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("STUN: %w; -stun chooses another port", err)
		}
		ports = append(ports, pc.LocalAddr().(*net.UDPAddr).Port)
		running.Go(func() {
			defer pc.Close()
			if err := derp.ServeSTUN(ctx, pc); ctx.Err() == nil {
				log.Error("STUN has ended", "port", wanted, "err", err)
			}
		})
	}
	return ports, stop, nil
}
