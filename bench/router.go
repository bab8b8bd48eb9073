package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/meshnet-go/meshnet/bench/internal/lab"
	"github.com/meshnet-go/meshnet/bench/internal/process"
	"github.com/meshnet-go/meshnet/bench/internal/router"
	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

// isRouter reports whether the bench has started itself as a router: with a
// configuration as its only argument.
func isRouter(args []string) bool { return len(args) == 2 && strings.HasPrefix(args[1], "{") }

// serveRouter is the main function of the bench's second role: a router between
// TUN devices, which it gets as open files.
func serveRouter() {
	wire.Main(func(c router.Config) (any, wire.Verbs, func(), error) {
		const firstFile = 3
		var devices []io.ReadWriteCloser
		for i := range c.Hosts {
			fd := firstFile + i
			if err := unix.SetNonblock(fd, true); err != nil { // so that Close ends a Read
				return nil, nil, nil, err
			}
			devices = append(devices, os.NewFile(uintptr(fd), "tun"))
		}
		r := router.Start(c, devices)
		verbs := wire.Verbs{"counts": func(json.RawMessage) (any, error) { return r.Counts(), nil }}
		return nil, verbs, r.Close, nil
	})
}

// A routedLab is a lab around a router.
type routedLab struct {
	*lab.Lab
	router *process.Process
}

// routed builds a lab whose hosts are joined by ways.
func (r *run) routed(ways ...router.Way) (*routedLab, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	l, devices, err := lab.Routed(1500)
	if err != nil {
		return nil, err
	}
	defer lab.CloseAll(devices)
	config := router.Config{Hosts: lab.Hosts(), Ways: ways}
	p, err := process.Start(r.ctx, "the router", self, l.Hub(), config, nil, process.Options{Files: devices})
	if err != nil {
		l.Close()
		return nil, err
	}
	return &routedLab{l, p}, nil
}

// Close takes it down.
func (l *routedLab) Close() {
	l.router.Close()
	l.Lab.Close()
}
