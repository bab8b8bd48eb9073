package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/meshnet-go/meshnet/internal/splice"
)

// A stream is a connection of the mesh over a local socket: an HTTP request that
// becomes the connection.
//
//	POST /dial, "hello:80"                 what it is to lead to, as JSON
//	101 Switching Protocols, or an error
//	bytes in both directions

const streamProtocol = "meshnet-stream"

// handleStream answers requests for a connection that open makes.
func handleStream(mux *http.ServeMux, name string, open func(ctx context.Context, target string) (net.Conn, error)) {
	mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
		var target string
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxParams)).Decode(&target); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		conn, err := open(r.Context(), target)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		local, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			conn.Close()
			return
		}
		io.WriteString(local, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+streamProtocol+"\r\n\r\n")
		splice.Conns(r.Context(), local, conn, 0)
	})
}

// openStream asks over a local socket for a connection, which then is that of
// the socket.
func openStream(local net.Conn, name, target string) (net.Conn, error) {
	body, err := json.Marshal(target)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(local, "POST /%s HTTP/1.1\r\nHost: local\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: %d\r\n\r\n%s",
		name, streamProtocol, len(body), body); err != nil {
		return nil, err
	}
	from := bufio.NewReader(local)
	response, err := http.ReadResponse(from, nil)
	if err != nil {
		return nil, fmt.Errorf("the node does not answer: %w", err)
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		return &stream{local, from}, nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxParams))
	if err != nil {
		return nil, err
	}
	return nil, errors.New(strings.TrimSpace(string(text)))
}

// A stream is what the socket has become. What came with the answer is read first.
type stream struct {
	net.Conn
	from *bufio.Reader
}

func (s *stream) Read(p []byte) (int, error) { return s.from.Read(p) }

// CloseWrite ends one direction.
func (s *stream) CloseWrite() error { return s.Conn.(*net.UnixConn).CloseWrite() }
