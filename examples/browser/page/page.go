// Package page is the page of examples/browser: a node of the mesh, and what
// shows that it is one.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/browser"
)

//go:embed files
var files embed.FS

// Config is what the page is told and needs.
type Config struct {
	// Program is the node. Required.
	Program *Program
	// Coordinator answers at the page's own origin, if it is not nil.
	Coordinator http.Handler
	// Servers are the hosts and ports, on this machine, of relays, and of a
	// coordinator that is elsewhere: the page may connect there with and without
	// TLS.
	Servers []string
	// Hosts are those under which a browser may ask for the page; other sites
	// that lead to this machine get nothing.
	Hosts []string
	// Node is what the page's node is told.
	Node Node
	// Proxy is the address of a SOCKS5 proxy into the mesh, which the page shows;
	// it may be empty.
	Proxy string
}

// A Node is how the page joins the mesh.
type Node struct {
	ControlURL string `json:"controlURL,omitempty"` // empty: the page's own origin
	ControlKey string `json:"controlKey"`
	AuthKey    string `json:"authKey"`
	Hostname   string `json:"hostname"`
}

// Handler serves the page.
func Handler(cfg Config) (http.Handler, error) {
	told, err := json.Marshal(map[string]any{"node": cfg.Node, "proxy": cfg.Proxy})
	if err != nil {
		return nil, err
	}
	own, err := fs.Sub(files, "files")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	if cfg.Coordinator != nil {
		mux.Handle("/", cfg.Coordinator)
	}
	mux.Handle("GET /{$}", http.FileServerFS(own))
	for _, dir := range []fs.FS{own, browser.Files} {
		entries, err := fs.ReadDir(dir, ".")
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			mux.Handle("GET /"+entry.Name(), http.FileServerFS(dir))
		}
	}
	serve := func(name, contentType string, content []byte) {
		tag := fmt.Sprintf(`"%x"`, sha256.Sum256(content)) // so that a browser keeps what it has, and what it made of it
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("ETag", tag)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		})
	}
	serve("meshnet.wasm", "application/wasm", cfg.Program.wasm)
	serve("wasm_exec.js", "text/javascript", cfg.Program.wasmExec)
	serve("page.json", "application/json", told)
	return guarded(cfg, mux), nil
}

// guarded lets nothing into the page that is not ours, and nobody to it by a
// name that is not.
func guarded(cfg Config, h http.Handler) http.Handler {
	policy := contentPolicy(cfg.Servers)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(cfg.Hosts, strings.ToLower(r.Host)) {
			http.Error(w, "this is not the host that you look for", http.StatusMisdirectedRequest)
			return
		}
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-cache")
		h.ServeHTTP(w, r)
	})
}

// contentPolicy allows what the page has, and connections to servers.
func contentPolicy(servers []string) string {
	connect := "connect-src 'self'"
	for _, server := range servers {
		for _, scheme := range []string{"ws", "http", "wss", "https"} {
			connect += " " + scheme + "://" + server
		}
	}
	return strings.Join([]string{
		"default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "worker-src 'self'", "style-src 'self'", "img-src 'self'",
		connect, "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; ")
}
