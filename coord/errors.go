package coord

import "errors"

// ErrNotFound is in the error of a method that was asked about a node, user,
// auth key or login that is not there.
var ErrNotFound = errors.New("not found")

// ErrClosed is the error of what is asked of a [Server] that is closed.
var ErrClosed = errors.New("coord: the coordinator is closed")
