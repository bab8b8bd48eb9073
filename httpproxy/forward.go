package httpproxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
)

// forward sends the request to its target, and the answer back.
func (x *exchange) forward() {
	in := x.in.WithContext(x.in.Context())
	if in.ContentLength != 0 {
		x.body = &sentBody{ReadCloser: in.Body, n: &x.toTarget}
		in.Body = x.body
		if in.Header.Get("Expect") == "" { // else the body is asked for, or not
			// Without this net/http takes the rest of the body from the target's
			// mouth when the target begins to answer.
			http.NewResponseController(x.ResponseWriter).EnableFullDuplex()
		}
		defer x.boundBody(x.conn.endReading)
	}
	proxy := httputil.ReverseProxy{
		Rewrite:        x.rewrite,
		Transport:      x.conn.transport(),
		FlushInterval:  -1, // at once
		ErrorLog:       x.conn.server.web.ErrorLog,
		BufferPool:     buffers{},
		ModifyResponse: x.check,
		ErrorHandler:   func(_ http.ResponseWriter, _ *http.Request, err error) { x.fail(err) },
	}
	proxy.ServeHTTP(x, in)
	if x.switched != nil {
		x.switched.Close() // ReverseProxy does not when it refuses the switch
	}
}

// rewrite undoes what a reverse proxy does to requests and a forward proxy must
// not: it takes headers away that are the client's, and cleans the query.
func (x *exchange) rewrite(p *httputil.ProxyRequest) {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := p.In.Header[name]; ok {
			p.Out.Header[name] = values
		}
	}
	p.Out.URL = originURL(p.In, x.ask.address())
	// A Transport sends the body after a refusal, and for that the client would
	// be asked for it, unless the connection is to be closed.
	p.Out.Close = p.In.Header.Get("Expect") != ""
}

// originURL returns the URL with which a Transport connects to address and
// writes path and query as they came, which a proxy must not change (RFC 9110
// section 7.7). Parsing and writing a URL changes some, such as /a|b.
func originURL(r *http.Request, address string) *url.URL {
	_, rest, _ := strings.Cut(r.RequestURI, "://")
	path := "" // with the query
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		path = rest[i:]
	}
	switch {
	case path == "" && r.Method == http.MethodOptions:
		path = "*" // RFC 9112 section 3.2.4
	case !strings.HasPrefix(path, "/"):
		path = "/" + path
	case strings.HasPrefix(path, "//"):
		// The way below would take it for a host.
		return &url.URL{Scheme: "http", Host: address, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	}
	return &url.URL{Scheme: "http", Host: address, Opaque: path}
}

// check looks at an answer before it goes to the client.
func (x *exchange) check(res *http.Response) error {
	if res.StatusCode < 100 {
		return fmt.Errorf("the status %d does not exist", res.StatusCode)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		x.status = res.StatusCode
		if stream, ok := res.Body.(io.ReadWriteCloser); ok {
			x.switched = newUpgraded(x, stream)
			res.Body = x.switched
		}
	}
	return nil
}

// A sentBody is the body of a request on its way to the target. The Transport
// may still be reading it when the exchange has ended.
type sentBody struct {
	io.ReadCloser
	n     *atomic.Int64 // bytes
	ended atomic.Bool
}

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

const bufferSize = 32 << 10

var bufferPool = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// buffers lends the buffers through which answers pass.
type buffers struct{}

func (buffers) Get() []byte  { return bufferPool.Get().(*[bufferSize]byte)[:] }
func (buffers) Put(b []byte) { bufferPool.Put((*[bufferSize]byte)(b)) }
