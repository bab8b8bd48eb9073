package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	sessionCookie   = "meshnet_session"
	sessionLifetime = 12 * time.Hour
)

// Secrets are how administrators are known. The zero Hash is of no secret.
type Secrets struct {
	Hash [sha256.Size]byte // of the administrator's secret, which is too random to be guessed
	Key  []byte            // signs sessions and forms; the same for all coordinators
}

// HashSecret returns the hash of a secret as [Secrets] have it.
func HashSecret(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// knows reports whether that is the secret.
func (s Secrets) knows(secret string) bool {
	hash := HashSecret(secret)
	return s.Hash != [sha256.Size]byte{} && subtle.ConstantTimeCompare(hash[:], s.Hash[:]) == 1
}

// sign returns a signature of the parts. Another secret of the administrator
// makes all void.
func (s Secrets) sign(parts ...string) []byte {
	mac := hmac.New(sha256.New, s.Key)
	mac.Write(s.Hash[:])
	for _, p := range parts {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		mac.Write([]byte(p))
	}
	return mac.Sum(nil)
}

// newSession returns the text of a session that ends at that time:
//
//	base64(i64 BE seconds since 1970 | signature)
func (s Secrets) newSession(ends time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(ends.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(b, s.sign("session", string(b))...))
}

// session reports whether the text is that of a session that has not ended.
func (s Secrets) session(text string, now time.Time) bool {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != 8+sha256.Size || len(s.Key) == 0 {
		return false
	}
	ends := time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
	return hmac.Equal(b[8:], s.sign("session", string(b[:8]))) && now.Before(ends) && ends.Before(now.Add(sessionLifetime+time.Hour))
}

// admin is an administrator who is signed in.
type admin struct {
	Name  string
	Token string // that forms must carry
	Hook  bool   // signed in by the Authenticator, and so not out by us
}

// sent reports whether the administrator has sent the form.
func (a *admin) sent(r *http.Request) bool {
	return hmac.Equal([]byte(r.PostFormValue("token")), []byte(a.Token))
}

// administrator returns who sent the request, or nil when that is no
// administrator.
func (h *handler) administrator(r *http.Request) *admin {
	secrets := h.Coordinator.Secrets()
	token := func(of ...string) string { return base64.RawURLEncoding.EncodeToString(secrets.sign(of...)) }
	if h.Authenticator != nil {
		name, ok := h.Authenticator.Administrator(r)
		if !ok {
			return nil
		}
		return &admin{Name: name, Token: token("form", "hook", name), Hook: true}
	}
	cookie, err := r.Cookie(sessionCookie)
	if err != nil || !secrets.session(cookie.Value, time.Now()) {
		return nil
	}
	return &admin{Name: "administrator", Token: token("form", "session", cookie.Value)}
}

// signedIn lets only administrators have f answer. Others are asked who they
// are, and then come back.
func (h *handler) signedIn(f func(http.ResponseWriter, *http.Request, *admin)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if a := h.administrator(r); a != nil {
			f(w, r, a)
			return
		}
		back := safeBack(r.URL.Path)
		if h.Authenticator != nil {
			h.Authenticator.SignIn(w, r, h.Base+back)
			return
		}
		http.Redirect(w, r, h.Base+"/admin/signin?back="+url.QueryEscape(back), http.StatusSeeOther)
	}
}

// signInForm is the content of the page that asks for the secret.
type signInForm struct {
	Back   string
	Waits  bool // a node waits behind it
	Wrong  bool // the secret was
	Secret bool // there is one
}

func (h *handler) askSecret(w http.ResponseWriter, r *http.Request) {
	h.showSignIn(w, http.StatusOK, h.formOf(r))
}

func (h *handler) formOf(r *http.Request) signInForm {
	back := safeBack(r.FormValue("back"))
	return signInForm{Back: back, Waits: strings.HasPrefix(back, "/login/"), Secret: h.Coordinator.Secrets().Hash != [sha256.Size]byte{}}
}

func (h *handler) showSignIn(w http.ResponseWriter, status int, f signInForm) {
	h.show(w, status, "signin.html", page{Title: "Sign in", Content: f})
}

func (h *handler) signIn(w http.ResponseWriter, r *http.Request) {
	form, secrets := h.formOf(r), h.Coordinator.Secrets()
	if h.Authenticator != nil || !secrets.knows(strings.TrimSpace(r.PostFormValue("secret"))) {
		h.Log.Info("somebody tried to sign in with a wrong secret", "remote", r.RemoteAddr)
		form.Wrong = true
		h.showSignIn(w, http.StatusForbidden, form)
		return
	}
	h.setSession(w, r, secrets.newSession(time.Now().Add(sessionLifetime)), int(sessionLifetime.Seconds()))
	h.Log.Info("an administrator signed in", "remote", r.RemoteAddr)
	http.Redirect(w, r, h.Base+form.Back, http.StatusSeeOther)
}

func (h *handler) signOut(w http.ResponseWriter, r *http.Request) {
	h.setSession(w, r, "", -1)
	http.Redirect(w, r, h.Base+"/admin/signin", http.StatusSeeOther)
}

func (h *handler) setSession(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name:     sessionCookie,
		Value:    value,
		Path:     h.Base + "/",
		MaxAge:   maxAge,
		HttpOnly: true,
		Secure:   h.Secure || r.TLS != nil,
		SameSite: http.SameSiteLaxMode, // a login URL is often followed from elsewhere
	})
}

// safeBack returns the path of ours to go back to: never another site's.
func safeBack(back string) string {
	u, err := url.Parse(back)
	if err != nil || u.IsAbs() || u.Host != "" || u.Opaque != "" || strings.ContainsAny(back, "\\\r\n") || strings.Contains(back, "..") {
		return "/admin/"
	}
	if strings.HasPrefix(u.Path, "/login/") || strings.HasPrefix(u.Path, "/admin/node/") {
		return u.EscapedPath()
	}
	return "/admin/"
}
