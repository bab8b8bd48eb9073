package meshdebug

import (
	"fmt"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"
)

// The paths and parameters are those of net/http/pprof, which cannot be imported
// without that it registers itself in http.DefaultServeMux.

const (
	profileTime = 30 * time.Second
	traceTime   = time.Second
)

func profiles(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "profile?seconds=30\ntrace?seconds=1")
	for _, p := range pprof.Profiles() {
		fmt.Fprintf(w, "%s?debug=1 (%d)\n", p.Name(), p.Count())
	}
}

func profile(w http.ResponseWriter, r *http.Request) {
	p := pprof.Lookup(r.PathValue("name"))
	if p == nil {
		http.NotFound(w, r)
		return
	}
	debug, _ := strconv.Atoi(r.FormValue("debug"))
	if debug == 0 {
		asFile(w, p.Name())
	} else {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	p.WriteTo(w, debug) // an error is that the visitor has gone
}

func cpuProfile(w http.ResponseWriter, r *http.Request) {
	record(w, r, "profile", profileTime, func() error { return pprof.StartCPUProfile(w) }, pprof.StopCPUProfile)
}

func executionTrace(w http.ResponseWriter, r *http.Request) {
	record(w, r, "trace", traceTime, func() error { return trace.Start(w) }, trace.Stop)
}

// record does something for a while. Of some things there is one at a time in
// the program.
func record(w http.ResponseWriter, r *http.Request, name string, whenNotSaid time.Duration, start func() error, stop func()) {
	ctx, cancel, err := wait(r, whenNotSaid)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer cancel()
	asFile(w, name)
	if err := start(); err != nil {
		w.Header().Del("Content-Disposition")
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	<-ctx.Done()
	stop()
}

func asFile(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
}
