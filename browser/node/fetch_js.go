package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall/js"

	"github.com/meshnet-go/meshnet/browser/internal/web"
)

// An exchange is a stream that has a head as well.
type exchange interface {
	stream
	call(method string, args []js.Value) (any, error)
}

// A fetch is a request of the page's: it writes the request's body and reads the
// response's.
type fetch struct {
	body   *io.PipeWriter // of the request
	cancel context.CancelFunc
	done   chan struct{} // closed when there is resp or err

	resp *http.Response
	err  error
}

// fetch sends a request as soon as it can. Its body comes in what is written.
func (p *page) fetch(request js.Value) (any, error) {
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var body io.Reader = http.NoBody
	if request.Get("hasBody").Truthy() {
		body = r
	}
	req, err := http.NewRequestWithContext(ctx, text(request, "method"), text(request, "url"), body)
	if err != nil {
		cancel()
		return nil, err
	}
	setHeader(req.Header, request.Get("headers"))
	f := &fetch{body: w, cancel: cancel, done: make(chan struct{})}
	client := *p.client
	client.CheckRedirect = redirects(text(request, "redirect"))
	go func() {
		defer close(f.done)
		f.resp, f.err = checked(client.Do(req))
		if f.err != nil {
			r.CloseWithError(f.err)
		}
	}()
	return map[string]any{"id": p.open(f)}, nil
}

// checked passes on a response that a page can have: the others make no Response.
func checked(resp *http.Response, err error) (*http.Response, error) {
	if err == nil && (resp.StatusCode < 200 || resp.StatusCode > 599) {
		resp.Body.Close()
		return nil, fmt.Errorf("the answer has the status %d", resp.StatusCode)
	}
	return resp, err
}

// maxRedirects is the number that browsers follow.
const maxRedirects = 20

// redirects does what a request says of redirects: "follow", "error" or "manual".
func redirects(mode string) func(*http.Request, []*http.Request) error {
	return func(_ *http.Request, via []*http.Request) error {
		switch {
		case mode == "manual":
			return http.ErrUseLastResponse
		case mode == "error":
			return errors.New("the answer is a redirect")
		case len(via) > maxRedirects:
			return errors.New("too many redirects")
		}
		return nil
	}
}

// call implements exchange.
func (f *fetch) call(method string, _ []js.Value) (any, error) {
	if method != "head" {
		return nil, errArguments
	}
	<-f.done
	if f.err != nil {
		return nil, f.err
	}
	_, statusText, _ := strings.Cut(f.resp.Status, " ")
	return map[string]any{
		"status":     f.resp.StatusCode,
		"statusText": web.Characters(statusText),
		"headers":    headerPairs(f.resp.Header),
		"url":        f.resp.Request.URL.String(),
		"redirected": f.resp.Request.Response != nil,
	}, nil
}

func (f *fetch) Read(p []byte) (int, error) {
	<-f.done
	if f.err != nil {
		return 0, f.err
	}
	return f.resp.Body.Read(p)
}

func (f *fetch) Write(p []byte) (int, error) { return f.body.Write(p) }
func (f *fetch) CloseWrite() error           { return f.body.Close() }

// Close breaks off what is under way.
func (f *fetch) Close() error {
	f.cancel()
	f.body.CloseWithError(context.Canceled)
	<-f.done
	if f.err == nil {
		f.resp.Body.Close()
	}
	return nil
}

// setHeader takes a list of pairs, which a page's Headers have checked.
func setHeader(h http.Header, pairs js.Value) {
	if !pairs.InstanceOf(js.Global().Get("Array")) {
		return
	}
	for i := range pairs.Length() {
		h.Add(pairs.Index(i).Index(0).String(), web.Bytes(pairs.Index(i).Index(1).String()))
	}
}

// headerPairs is what the constructor of Headers takes.
func headerPairs(h http.Header) []any {
	var pairs []any
	for _, pair := range web.Pairs(h) {
		pairs = append(pairs, []any{pair[0], pair[1]})
	}
	return pairs
}
