package httpproxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// serveRequest is the handler of the http.Server.
func (s *Server) serveRequest(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*conn)
	defer func() {
		if c.hijacked.Load() {
			c.Close()
			close(c.ended)
		}
	}()
	if s.Auth == nil {
		c.Established()
	}
	if r.Method != http.MethodConnect && !r.URL.IsAbs() {
		s.serveSelf(w, r)
		return
	}
	x := &exchange{ResponseWriter: w, conn: c, in: r, begin: time.Now()}
	x.ask = Request{Method: r.Method, Client: c.RemoteAddr()}
	defer x.log()
	x.serve(s)
}

// serveSelf answers a request that is not for a proxy.
func (s *Server) serveSelf(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 { // anybody may send one, and need not end it
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.handshakeTimeout()))
	}
	if s.Handler != nil {
		s.Handler.ServeHTTP(w, r)
		return
	}
	const text = "This is an HTTP proxy, and has no pages of its own: enter its address in a program's proxy settings."
	answer(w, http.StatusBadRequest, text)
}

// An exchange is one request for the proxy and its answer, which is written
// through it.
type exchange struct {
	http.ResponseWriter
	conn  *conn
	in    *http.Request
	ask   Request
	begin time.Time

	body     *sentBody // nil without a body, and before it is forwarded
	switched *upgraded // when the target has agreed to leave HTTP

	// For the log.
	status             int   // 0 when there was nobody left to answer, or Handler did
	err                error // why it went wrong
	toTarget, toClient atomic.Int64
}

func (x *exchange) serve(s *Server) {
	var ok bool
	if x.ask.User, ok = s.authorise(x.in.Header); !ok {
		x.Header().Set("Proxy-Authenticate", challenge)
		x.refuse(http.StatusProxyAuthRequired, "this proxy asks for a user name and a password")
		return
	}
	x.conn.Established()
	var err error
	if x.ask.Host, x.ask.Port, err = target(x.in); err != nil {
		x.refuse(http.StatusBadRequest, err.Error())
		return
	}
	tunnel := x.in.Method == http.MethodConnect
	if x.ask.address() == x.conn.LocalAddr().String() { // Dial may not reach it, or would come back here
		if tunnel {
			x.refuse(http.StatusBadRequest, x.ask.address()+" is this proxy itself")
		} else {
			s.serveSelf(x.ResponseWriter, x.in)
		}
		return
	}
	if err := s.allow(x.in.Context(), &x.ask); err != nil {
		x.err = err
		x.refuse(http.StatusForbidden, "this proxy does not allow connections to "+x.ask.address())
		return
	}
	if tunnel {
		x.connect()
	} else {
		x.forward()
	}
}

func (s *Server) allow(ctx context.Context, r *Request) error {
	if s.Allow == nil {
		return nil
	}
	return s.Allow(ctx, r)
}

// fail answers for a target that could not.
func (x *exchange) fail(err error) {
	x.err = err
	if x.in.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client has left; returning would answer 200
	}
	status, why := explain(err)
	x.refuse(status, fmt.Sprintf("cannot reach %s: %s", x.ask.address(), why))
}

// refuse answers with a sentence of our own. The client has a limited time to
// finish its request, because it may be anybody.
func (x *exchange) refuse(status int, sentence string) {
	x.boundBody(x.conn.SetReadDeadline)
	if x.in.Method == http.MethodConnect && status != http.StatusProxyAuthRequired {
		// What a hasty client has sent into its tunnel must not be taken for
		// requests. (RFC 9931 is about that.) With a password it may try again.
		x.Header().Set("Connection", "close")
	}
	answer(x, status, sentence)
}

// boundBody limits the time for what is left of the request.
func (x *exchange) boundBody(set func(time.Time) error) {
	if x.body == nil || !x.body.ended.Load() {
		set(time.Now().Add(x.conn.server.handshakeTimeout()))
	}
}

// answer writes a sentence of our own. Its length stands in the head, so that
// a client has all of it at once, even if net/http then waits for the rest of
// the request.
func answer(w http.ResponseWriter, status int, sentence string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(sentence)+1))
	w.WriteHeader(status)
	io.WriteString(w, sentence+"\n")
}

// WriteHeader notes the status and passes it on.
func (x *exchange) WriteHeader(status int) {
	if status < 200 {
		if x.in.ProtoAtLeast(1, 1) { // clients of HTTP/1.0 know no informational answers
			x.ResponseWriter.WriteHeader(status)
		}
		return
	}
	x.status = status
	h := x.Header()
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // net/http does not guess it then
	}
	if x.body != nil && !x.body.ended.Load() {
		// With full duplex net/http would go on to the next request behind a body
		// that was not, or could not be, read to its end (and panic,
		// https://go.dev/issue/68560).
		h.Set("Connection", "close")
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(p []byte) (int, error) {
	n, err := x.ResponseWriter.Write(p)
	x.toClient.Add(int64(n))
	return n, err
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) log() {
	log := x.conn.server.log
	if !log.Enabled(x.in.Context(), slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", x.ask.Method),
		slog.Any("client", x.ask.Client),
		slog.String("target", x.in.URL.Host),
		slog.Int("status", x.status),
		slog.Int64("sent", x.toTarget.Load()),
		slog.Int64("received", x.toClient.Load()),
		slog.Duration("took", time.Since(x.begin)),
	}
	if x.ask.User != "" {
		attrs = append(attrs, slog.String("user", x.ask.User))
	}
	if x.err != nil {
		attrs = append(attrs, slog.Any("err", x.err))
	}
	log.LogAttrs(x.in.Context(), slog.LevelDebug, "proxied", attrs...)
}
