package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet"
)

// serveWeb serves HTTP on the mesh.
func serveWeb(node *meshnet.Server) error {
	ln, err := node.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello %s, this is web.\nIt is %s here.\n", caller(node, r), time.Now().Format(time.TimeOnly))
	})
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, r *http.Request) {
		for n := range 10 { // as a stream
			fmt.Fprintf(w, "%d\n", n+1)
			http.NewResponseController(w).Flush()
			select {
			case <-time.After(200 * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("POST /upper", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		io.WriteString(w, strings.ToUpper(string(body)))
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(ln) // until the node is closed
	return nil
}

func caller(node *meshnet.Server, r *http.Request) string {
	who, err := node.WhoIs(r.Context(), r.RemoteAddr)
	if err != nil {
		return "stranger"
	}
	name, _, _ := strings.Cut(who.Node.Name, ".")
	return name
}

// serveTerminal answers lines of text on the mesh, on the port of telnet.
func serveTerminal(node *meshnet.Server) error {
	ln, err := node.Listen("tcp", ":23")
	if err != nil {
		return err
	}
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go converse(node, nc)
		}
	}()
	return nil
}

const idleTimeout = 10 * time.Minute

func converse(node *meshnet.Server, nc net.Conn) {
	defer nc.Close()
	fmt.Fprint(nc, "This is web. Say help.\n> ")
	lines := bufio.NewScanner(nc)
	for {
		nc.SetDeadline(time.Now().Add(idleTimeout))
		if !lines.Scan() {
			return
		}
		answer, more := reply(node, strings.TrimSpace(lines.Text()))
		fmt.Fprint(nc, answer)
		if !more {
			return
		}
		fmt.Fprint(nc, "> ")
	}
}

// reply answers a line, and says whether the conversation goes on.
func reply(node *meshnet.Server, line string) (answer string, more bool) {
	command, rest, _ := strings.Cut(line, " ")
	switch command {
	case "":
		return "", true
	case "help":
		return "help         this\npeers        who is in the mesh\ntime         what time it is\necho WORDS   says them back\nbye          ends it\n", true
	case "peers":
		var text strings.Builder
		for _, p := range node.Status().Peers {
			fmt.Fprintf(&text, "%-28s %v\n", p.Name, p.Path)
		}
		return text.String(), true
	case "time":
		return time.Now().Format(time.RFC1123) + "\n", true
	case "echo":
		return rest + "\n", true
	case "bye":
		return "Goodbye.\n", false
	}
	return fmt.Sprintf("I do not know %q.\n", command), true
}
