package meshdebug

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/meshnet-go/meshnet"
)

// maxSeconds bounds what a visitor may ask for, who has perhaps gone without a
// word.
const maxSeconds = 3600

// wait waits for as long as the visitor says, and stays.
func wait(r *http.Request, whenNotSaid time.Duration) (ctx context.Context, cancel context.CancelFunc, err error) {
	d := whenNotSaid
	if text := r.FormValue("seconds"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 32)
		if err != nil || seconds == 0 || seconds > maxSeconds {
			return nil, nil, errors.New("seconds is a number up to " + strconv.Itoa(maxSeconds))
		}
		d = time.Duration(seconds) * time.Second
	}
	ctx, cancel = context.WithTimeout(r.Context(), d)
	return ctx, cancel, nil
}

// capture is for Wireshark as it goes on:
//
//	curl -sN http://…/capture | wireshark -k -i -
//
// Without "seconds" it ends with the visitor. "host" is an address whose packets
// are wanted alone.
func (p *pages) capture(w http.ResponseWriter, r *http.Request) {
	ctx, cancel, err := wait(r, maxSeconds*time.Second)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer cancel()
	var options meshnet.CaptureOptions
	if text := r.FormValue("host"); text != "" {
		host, err := netip.ParseAddr(text)
		if err != nil {
			http.Error(w, "host is an address of the mesh", http.StatusBadRequest)
			return
		}
		options.Filter = func(p meshnet.CapturedPacket) bool { return p.Src.Addr() == host || p.Dst.Addr() == host }
	}
	w.Header().Set("Content-Type", "application/x-pcapng")
	w.Header().Set("Content-Disposition", `attachment; filename="mesh.pcapng"`)
	c, err := p.srv.Capture(&flushing{w, http.NewResponseController(w)}, options)
	if err != nil {
		w.Header().Del("Content-Disposition")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	select {
	case <-ctx.Done():
	case <-c.Done():
	}
	c.Stop() // an error is that the visitor has gone
}

// flushing lets a visitor have what there is at once.
type flushing struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

func (f *flushing) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err != nil {
		return n, err
	}
	return n, f.controller.Flush()
}
