package meshtest

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// A service is a handler that is served on a listener. Stopped, it resets all
// its connections, as a process does that is killed.
type service struct {
	web     *http.Server
	handler io.Closer
	serving sync.WaitGroup
}

func serve(ln net.Listener, handler interface {
	http.Handler
	io.Closer
}) *service {
	s := &service{
		web: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: time.Minute,
			ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, 0),
		},
		handler: handler,
	}
	s.serving.Go(func() { s.web.Serve(ln) })
	return s
}

// stop ends the service and waits for that. A nil one is stopped already.
func (s *service) stop() {
	if s == nil {
		return
	}
	s.web.Close()
	s.handler.Close()
	s.serving.Wait()
}
