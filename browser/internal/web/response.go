package web

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"
)

// A head is what a response begins with.
type head struct {
	status int
	header http.Header
}

// framing is how a client knows where a body ends.
type framing int

const (
	none    framing = iota // there is no body
	sized                  // by its length
	chunked                // by its last chunk
	closing                // by the end of the connection
)

// frame returns the framing of an answer, and its length if that is known.
func (h *head) frame(req *http.Request) (framing, int64) {
	n, err := strconv.ParseInt(h.header.Get("Content-Length"), 10, 64)
	known := err == nil && n >= 0
	switch {
	case req.Method == http.MethodHead, h.status == http.StatusNoContent, h.status == http.StatusNotModified:
		return none, 0
	case known:
		return sized, n
	case req.ProtoAtLeast(1, 1):
		return chunked, 0
	}
	return closing, 0
}

// write sends an answer, each part of its body as soon as it comes. It reports
// whether another may follow on the connection.
func (h *head) write(w *bufio.Writer, req *http.Request, body io.Reader) bool {
	framing, n := h.frame(req)
	last := framing == closing || req.Close
	h.header.Del("Transfer-Encoding")
	if framing == chunked || framing == closing {
		h.header.Del("Content-Length")
	}
	if framing == chunked {
		h.header.Set("Transfer-Encoding", "chunked")
	}
	if last {
		h.header.Set("Connection", "close")
	}
	fmt.Fprintf(w, "HTTP/1.1 %03d %s\r\n", h.status, http.StatusText(h.status))
	h.header.Write(w)
	io.WriteString(w, "\r\n")
	if w.Flush() != nil {
		return false
	}
	return writeBody(w, body, framing, n) == nil && !last
}

var errLength = errors.New("the body has another length than its head says")

// writeBody sends a body of n bytes, if it is sized.
func writeBody(w *bufio.Writer, body io.Reader, framing framing, n int64) error {
	switch framing {
	case none:
		_, err := io.Copy(io.Discard, body)
		return err
	case sized:
		return writeSized(w, body, n)
	case chunked:
		chunks := httputil.NewChunkedWriter(w)
		if _, err := copyFlushing(chunks, w, body); err != nil {
			return err
		}
		chunks.Close()
		io.WriteString(w, "\r\n")
		return w.Flush()
	}
	_, err := copyFlushing(w, w, body)
	return err
}

// writeSized sends n bytes and no more: a client would take the rest for the
// next answer.
func writeSized(w *bufio.Writer, body io.Reader, n int64) error {
	sent, err := copyFlushing(w, w, io.LimitReader(body, n))
	if err != nil {
		return err
	}
	more, err := io.CopyN(io.Discard, body, 1)
	switch {
	case sent < n, more > 0:
		return errLength
	case err == io.EOF:
		return nil
	}
	return err
}

// copyFlushing copies what comes from r to to, which writes to w, and flushes w
// after each part.
func copyFlushing(to io.Writer, w *bufio.Writer, r io.Reader) (sent int64, err error) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			sent += int64(n)
			if _, err := to.Write(buf[:n]); err != nil {
				return sent, err
			}
			if err := w.Flush(); err != nil {
				return sent, err
			}
		}
		if err == io.EOF {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}
