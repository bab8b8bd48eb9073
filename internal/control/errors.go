package control

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// These end a session; the caller decides what then.
var (
	// ErrNodeKeyExpired asks for a new node key, registered with a session
	// that names the present one as OldNodeKey.
	ErrNodeKeyExpired = errors.New("the node key has expired")
	// ErrTailnetLock means that the coordinator takes a node key only with a
	// signature of the tailnet lock, which meshnet cannot make.
	ErrTailnetLock = errors.New("the tailnet is locked, and the node key is not signed")
)

// ErrNotCoordinator means that something answers at the URL that is no
// coordinator. [FetchServerKey] returns it.
var ErrNotCoordinator = errors.New("there is no coordinator")

// RefusedError is the coordinator's answer to a node that it will not have, for
// instance because its auth key is unknown, used up or expired. It ends a
// session.
type RefusedError struct {
	Reason string // in the coordinator's words
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the coordinator refuses this node: %q", e.Reason)
}

// Ends reports whether an error of a session ends it: the same node key will
// not do, however often it is tried.
func Ends(err error) bool {
	var refused *RefusedError
	return errors.Is(err, ErrNodeKeyExpired) || errors.Is(err, ErrTailnetLock) || errors.As(err, &refused)
}

// statusError is an HTTP answer other than the one asked for.
type statusError struct {
	code       int
	text       string        // in the coordinator's words; may be empty
	retryAfter time.Duration // zero if not said
}

func (e *statusError) Error() string {
	if e.text == "" {
		return "the coordinator answers " + e.status()
	}
	return fmt.Sprintf("the coordinator answers %s: %q", e.status(), e.text)
}

func (e *statusError) status() string {
	return strings.TrimSpace(strconv.Itoa(e.code) + " " + http.StatusText(e.code))
}

const maxErrorText = 512

func readStatusError(resp *http.Response) *statusError {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorText))
	return &statusError{
		code:       resp.StatusCode,
		text:       strings.TrimSpace(string(text)),
		retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
}

// maxRetryAfter is the longest that a coordinator can make us wait.
const maxRetryAfter = 10 * time.Minute

// parseRetryAfter reads the header of that name: seconds or a date (RFC 9110,
// section 10.2.3).
func parseRetryAfter(value string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		d = date.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
