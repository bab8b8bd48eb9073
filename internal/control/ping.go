package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

const (
	// maxPings is how many pings wait to be answered; more are dropped.
	maxPings = 4
	// maxC2N bounds the request in a "c2n" ping.
	maxC2N = 64 << 10

	typeC2N = "c2n" // coordinator to node
)

// answers tells whether a session answers that ping by itself: those that ask
// for nothing but a sign of life, and requests to the node's HTTP server, of
// which the coordinator is the client.
func answers(p *tailcfg.PingRequest) bool { return p.Types == "" || p.Types == typeC2N }

func (s *Session) queuePing(p *tailcfg.PingRequest) {
	select {
	case s.pings <- p:
	default:
	}
}

func (s *Session) answerPings(ctx context.Context) {
	for {
		select {
		case p := <-s.pings:
			if err := s.answerPing(ctx, p); err != nil {
				s.log.Debug("answering a ping of the coordinator", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *Session) answerPing(ctx context.Context, p *tailcfg.PingRequest) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	u, err := url.Parse(p.URL)
	if err != nil {
		return err
	}
	switch {
	case p.Types == typeC2N:
		answer, err := answerC2N(p.Payload)
		if err != nil {
			return err
		}
		return s.callNoise(ctx, http.MethodPost, u, answer)
	default:
		return s.call(ctx, http.MethodHead, p, u, nil)
	}
}

// Answer tells the coordinator how a ping went that it had us send to a peer.
func (s *Session) Answer(ctx context.Context, p *tailcfg.PingRequest, result tailcfg.PingResponse) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	u, err := url.Parse(p.URL)
	if err != nil {
		return err
	}
	body, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return s.call(ctx, http.MethodPost, p, u, body)
}

// call makes the request that a ping asks for.
func (s *Session) call(ctx context.Context, method string, p *tailcfg.PingRequest, u *url.URL, body []byte) error {
	if p.URLIsNoise {
		return s.callNoise(ctx, method, u, body)
	}
	return s.callBack(ctx, method, u, body)
}

// callNoise makes a request through the control connection, wherever u says
// that it goes.
func (s *Session) callNoise(ctx context.Context, method string, u *url.URL, body []byte) error {
	path := u.RequestURI()
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("the URL %q has no path", u)
	}
	resp, err := s.client.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	finish(resp)
	return nil
}

// callBack makes a request to u, but only if that is where the coordinator
// itself is: it must not make us call others.
func (s *Session) callBack(ctx context.Context, method string, u *url.URL, body []byte) error {
	if base, _, err := s.cfg.endpoint(); err != nil || !sameOrigin(u, base) {
		return errors.New("it leads elsewhere: " + u.Redacted())
	}
	return s.cfg.callOutside(ctx, method, u, body, func(*http.Response) error { return nil })
}

// answerC2N serves the HTTP/1 request in payload and returns the answer as
// HTTP/1. There is only /echo.
func answerC2N(payload []byte) ([]byte, error) {
	if len(payload) > maxC2N {
		return nil, fmt.Errorf("request of %d bytes", len(payload))
	}
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(payload)))
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	status, body := http.StatusNotFound, []byte("404 page not found\n")
	if req.URL.Path == "/echo" {
		status = http.StatusOK
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, fmt.Errorf("reading the request: %w", err)
		}
	}
	var answer bytes.Buffer
	err = (&http.Response{
		StatusCode:    status,
		ProtoMajor:    1,
		ProtoMinor:    1,
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}).Write(&answer)
	return answer.Bytes(), err
}
