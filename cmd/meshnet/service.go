package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// A server is the proxy, or one forwarder.
type server interface {
	// Serve serves until Shutdown is called.
	Serve(ctx context.Context, ln net.Listener) error
	// Shutdown waits for connections to end, and ends them when ctx ends.
	Shutdown(ctx context.Context) error
}

// A service is a server and what it serves.
type service struct {
	name      string // says where it listens, too
	server    server
	listeners []net.Listener
}

// serveAll serves until ctx ends, and gives the connections that are open then
// grace to end. It is an error when a service ends by itself.
func serveAll(ctx context.Context, services []service, grace time.Duration, log *slog.Logger) error {
	ended := make(chan error)
	stopping := make(chan struct{})
	var running sync.WaitGroup
	for _, s := range services {
		for _, ln := range s.listeners {
			running.Go(func() {
				// ctx's end is the beginning of a graceful one.
				err := s.server.Serve(context.WithoutCancel(ctx), ln)
				select {
				case ended <- fmt.Errorf("%s: %w", s.name, err):
				case <-stopping:
				}
			})
		}
	}
	var err error
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err = <-ended:
	}
	close(stopping)
	shutDown(services, grace, log)
	running.Wait()
	return err
}

// patience is how long open connections may take to end before the user is told
// that they are waited for.
const patience = 100 * time.Millisecond

// shutDown ends all services at once, and says what it waits for.
func shutDown(services []service, grace time.Duration, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	var open []string // names
	ended := make(chan string)
	for _, s := range services {
		open = append(open, s.name)
		go func() {
			if s.server.Shutdown(ctx) != nil {
				log.Warn("closed connections that were still open", "of", s.name)
			}
			ended <- s.name
		}()
	}
	tell := time.After(patience)
	for len(open) > 0 {
		select {
		case name := <-ended:
			open = slices.DeleteFunc(open, func(o string) bool { return o == name })
		case <-tell:
			log.Info("waiting for open connections", "of", strings.Join(open, ", "), "grace", grace)
		}
	}
}
