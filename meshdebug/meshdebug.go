// Package meshdebug shows what a node is doing, as web pages for the people who
// run the program that it is in.
//
//	/          where the node stands, its peers and the paths to them
//	/status    the same, as JSON
//	/metrics   for Prometheus
//	/netcheck  a new look at the network, as JSON
//	/capture   packets inside the tunnel, as pcapng; only with [Options.Capture]
//	/pprof/    profiles of the whole program; only with [Options.Pprof]
//
// The pages tell who is in the mesh and how they talk to each other. They have no
// access control of their own: whoever serves them decides who gets there, for
// example by listening on the loopback interface alone, or on the mesh, by
// [meshnet.PeerOfRequest].
//
//	http.Handle("/debug/mesh/", http.StripPrefix("/debug/mesh", meshdebug.Handler(srv, meshdebug.Options{})))
package meshdebug

import (
	"encoding/json"
	"net/http"

	"github.com/meshnet-go/meshnet"
)

// Options are what the pages have besides what does no harm.
type Options struct {
	// Capture lets visitors see the plain text of all connections of the node,
	// one packet at a time.
	Capture bool
	// Pprof lets visitors see the profiles of the program, and slow it down while
	// they are made. Without it nothing of the kind is served; and in either case
	// nothing is registered anywhere else, as net/http/pprof does.
	Pprof bool
}

// Handler returns the pages of a node. It does not start the node, but for
// /netcheck and /capture. It may be called any number of times.
func Handler(srv *meshnet.Server, options Options) http.Handler {
	p := &pages{srv, options}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.front)
	mux.HandleFunc("GET /status", p.status)
	mux.HandleFunc("GET /metrics", p.metrics)
	mux.HandleFunc("GET /netcheck", p.netcheck)
	if options.Capture {
		mux.HandleFunc("GET /capture", p.capture)
	}
	if options.Pprof {
		mux.HandleFunc("GET /pprof/{$}", profiles)
		mux.HandleFunc("GET /pprof/profile", cpuProfile)
		mux.HandleFunc("GET /pprof/trace", executionTrace)
		mux.HandleFunc("GET /pprof/{name}", profile)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

type pages struct {
	srv     *meshnet.Server
	options Options
}

// shownStatus is a status whose error has a text.
type shownStatus struct {
	*meshnet.Status
	Err string `json:",omitempty"`
}

func (p *pages) status(w http.ResponseWriter, _ *http.Request) {
	s := shownStatus{Status: p.srv.Status()}
	if s.Status.Err != nil {
		s.Err = s.Status.Err.Error()
	}
	writeJSON(w, s)
}

func (p *pages) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	p.srv.WriteMetrics(w) // an error is the visitor's, who has gone
}

func (p *pages) netcheck(w http.ResponseWriter, r *http.Request) {
	found, err := p.srv.Netcheck(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	writeJSON(w, found)
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(b, '\n'))
}
