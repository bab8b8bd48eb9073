package httpproxy

import (
	"net/http"
)

// challenge asks for a password. Browsers show the realm; the charset makes
// clients send UTF-8 (RFC 7617 section 2.1).
const challenge = `Basic realm="proxy", charset="UTF-8"`

// authorise says who makes a request, and whether they may.
func (s *Server) authorise(h http.Header) (user string, ok bool) {
	if s.Auth == nil {
		return "", true
	}
	user, password, ok := credentials(h)
	if !ok || !s.Auth(user, password) {
		return "", false
	}
	return user, true
}

// credentials reads Proxy-Authorization, which has the form of Authorization
// (RFC 7617).
func credentials(h http.Header) (user, password string, ok bool) {
	r := http.Request{Header: http.Header{"Authorization": h["Proxy-Authorization"]}}
	return r.BasicAuth()
}
