// Package web is the pages of a coordinator, for its administrators: the one to
// which the login URL of a node leads, where it is approved, and those that
// show the tailnet as it is.
//
//	GET  /login/{id}       a node waits: approve or reject it
//	POST /login/{id}
//	GET  /admin/           the tailnet
//	GET  /admin/node/{id}  one node
//	GET  /admin/paths      who talks to whom, and how
//	GET  /admin/signin     asks for the secret of the administrator
//	POST /admin/signin
//	POST /admin/signout
//	GET  /admin/style.css
//
// Nothing is shown to those who are not signed in, and a login URL is no
// credential. The pages work without scripts, and browsers are told to run
// none. Forms carry a token, and are not taken from other sites.
package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// Coordinator is what the pages show, and what they do. Its methods may be
// called concurrently.
type Coordinator interface {
	// Secrets returns how administrators are known.
	Secrets() Secrets
	Tailnet(ctx context.Context, search string) (*Tailnet, error)
	Node(id int64) (*Node, error)
	// Paths returns what is known now, and has more found out.
	Paths() *Paths
	Login(ctx context.Context, id string) (*Login, error)
	Approve(ctx context.Context, id, user string) error
	Reject(ctx context.Context, id string) error
}

// ErrNotFound is what methods of a Coordinator return, wrapped or not, when
// there is no such node or login.
var ErrNotFound = errors.New("not found")

// Authenticator signs administrators in; see coord.Authenticator.
type Authenticator interface {
	Administrator(r *http.Request) (name string, ok bool)
	SignIn(w http.ResponseWriter, r *http.Request, back string)
}

// Config says what a handler serves.
type Config struct {
	Coordinator   Coordinator
	Authenticator Authenticator // nil: administrators sign in with the secret
	Base          string        // path before all others, as browsers see them: "" or "/mesh"
	Secure        bool          // browsers come by HTTPS, even if requests do not
	Log           *slog.Logger
}

// maxForm bounds the body of a request.
const maxForm = 16 << 10

//go:embed pages
var files embed.FS

type handler struct {
	Config
	pages *template.Template
	mux   http.Handler
}

// New returns a handler that serves the pages.
func New(c Config) http.Handler {
	h, mux := &handler{Config: c}, http.NewServeMux()
	h.pages = template.Must(template.New("").Funcs(functions).ParseFS(files, "pages/*.html"))
	mux.HandleFunc("GET /admin/style.css", h.style)
	mux.HandleFunc("GET /admin/signin", h.askSecret)
	mux.HandleFunc("POST /admin/signin", h.signIn)
	mux.HandleFunc("POST /admin/signout", h.signOut)
	mux.HandleFunc("GET /admin/{$}", h.signedIn(h.tailnet))
	mux.HandleFunc("GET /admin/node/{id}", h.signedIn(h.node))
	mux.HandleFunc("GET /admin/paths", h.signedIn(h.paths))
	mux.HandleFunc("GET /login/{id}", h.signedIn(h.login))
	mux.HandleFunc("POST /login/{id}", h.signedIn(h.decide))
	h.mux = http.NewCrossOriginProtection().Handler(mux)
	return h
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	head.Set("X-Frame-Options", "DENY")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "same-origin")
	head.Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	h.mux.ServeHTTP(w, r)
}

func (h *handler) style(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=3600")
	http.ServeFileFS(w, r, files, "pages/style.css")
}

// page is what every template is given.
type page struct {
	Base    string
	Title   string
	Admin   *admin // nil: nobody is signed in
	Refresh int    // seconds, or 0
	Now     time.Time
	Content any
}

// show answers with a page.
func (h *handler) show(w http.ResponseWriter, status int, name string, p page) {
	p.Base, p.Now = h.Base, time.Now()
	var buf bytes.Buffer // so that a page is whole, or an error
	if err := h.pages.ExecuteTemplate(&buf, name, p); err != nil {
		h.Log.Warn("a page of the coordinator could not be made", "page", name, "err", err)
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(buf.Bytes()) // an error means that the browser is gone
}

// fail answers with a page about an error.
func (h *handler) fail(w http.ResponseWriter, a *admin, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, ErrNotFound) {
		status = http.StatusNotFound
	}
	h.show(w, status, "error.html", page{Title: "That did not work", Admin: a, Content: err.Error()})
}

func (h *handler) tailnet(w http.ResponseWriter, r *http.Request, a *admin) {
	t, err := h.Coordinator.Tailnet(r.Context(), r.FormValue("q"))
	if err != nil {
		h.fail(w, a, err)
		return
	}
	h.show(w, http.StatusOK, "tailnet.html", page{Title: t.Domain, Admin: a, Refresh: 10, Content: t})
}

func (h *handler) node(w http.ResponseWriter, r *http.Request, a *admin) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		h.fail(w, a, ErrNotFound)
		return
	}
	n, err := h.Coordinator.Node(id)
	if err != nil {
		h.fail(w, a, err)
		return
	}
	h.show(w, http.StatusOK, "node.html", page{Title: n.Name, Admin: a, Refresh: livePeriod, Content: n})
}
