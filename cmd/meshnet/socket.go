package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// errNobody means that no process serves a socket.
var errNobody = errors.New("nobody is there")

// maxSocketPath is what fits a system's address of a socket, on the system that
// has least.
const maxSocketPath = 103

// listenLocal makes a socket for this user's processes alone. One that a
// process has left behind is replaced.
func listenLocal(path string) (net.Listener, error) {
	// In a folder of our own until it has its mode, and from there to its
	// place in one step.
	private, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	young := filepath.Join(private, "s")
	if len(young) > maxSocketPath {
		return nil, fmt.Errorf("the name of the directory of %s is too long for a socket: choose a shorter one", path)
	}
	ln, err := net.Listen("unix", young)
	if err != nil {
		return nil, err
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	err = os.Chmod(young, 0o600)
	if err == nil {
		err = os.Rename(young, path)
	}
	if err != nil {
		ln.Close()
		return nil, err
	}
	return &localListener{ln, path}, nil
}

// A localListener takes its socket away when it closes.
type localListener struct {
	net.Listener
	path string
}

func (l *localListener) Close() error {
	os.Remove(l.path)
	return l.Listener.Close()
}

// dialLocal connects to the process that serves a socket. The error is
// [errNobody] when none does.
func dialLocal(ctx context.Context, path string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, errNobody
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s belongs to another user: run this as that user, for example with sudo", path)
	}
	return nil, err
}

// serveLocal answers requests on a socket until the returned function is called.
func serveLocal(ln net.Listener, handler http.Handler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve(ln)
	}()
	return func() {
		cancel()
		server.Close()
		<-ended
	}
}
