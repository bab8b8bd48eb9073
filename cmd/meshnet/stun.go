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
	fs.Func("stun", "UDP `PORT` of STUN, by which nodes learn their addresses; a second STUN is on\nthe next port. 0 is any port, and \"off\" none (default 3478; 0 when -listen is\nan address of this machine alone)", func(text string) error {
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
func (c *stunConfig) portFor(web net.Addr) int {
	if !c.given && !serve.Local(web) {
		return usualSTUN
	}
	return c.port
}

// serve answers STUN beside a web server, and returns on which ports.
func (c *stunConfig) serve(web net.Addr, log *slog.Logger) (ports []int, stop func(), err error) {
	if c.off {
		return nil, func() {}, nil
	}
	port := c.portFor(web)
	host, _, err := net.SplitHostPort(web.String())
	if err != nil {
		return nil, nil, err
	}
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
