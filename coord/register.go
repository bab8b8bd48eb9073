package coord

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// serveRegister answers POST /machine/register.
func (s *Server) serveRegister(w http.ResponseWriter, r *http.Request) {
	var req tailcfg.RegisterRequest
	if !readJSON(w, r, &req) {
		return
	}
	conn := connOf(r)
	a, err := s.register(r.Context(), conn, &req)
	var refused refusal
	switch {
	case errors.As(err, &refused):
		s.log.Info("registration refused", "machine", conn.Peer(), "reason", refused)
		writeJSON(w, tailcfg.RegisterResponse{Error: refused.Error()})
		return
	case errors.Is(err, errTooManyLogins):
		w.Header().Set("Retry-After", "60")
		http.Error(w, err.Error(), http.StatusTooManyRequests)
		return
	case err != nil: // the node no longer waits, or we are closed
		s.log.Debug("registration not decided", "machine", conn.Peer(), "err", err)
		http.Error(w, "the coordinator cannot decide now; try again", http.StatusServiceUnavailable)
		return
	}
	writeJSON(w, s.registerResponse(conn, a))
}

// register decides on a registration. One that follows up a login that is
// pending waits until that is decided.
func (s *Server) register(ctx context.Context, conn *controlConn, req *tailcfg.RegisterRequest) (a admission, err error) {
	for {
		settled, stop := s.waiters.wait(loginID(req.Followup)) // before it can be settled
		a, err = decide(ctx, s, func(now time.Time, st *state) (admission, error) {
			return st.register(now, conn.Peer(), req)
		})
		if err != nil || a.login == nil || a.login.ID != loginID(req.Followup) {
			stop()
			return a, err
		}
		req = waiting(req, a.login)
		select {
		case <-settled:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if stop(); err != nil {
			return a, err
		}
	}
}

// waiting returns what has to be kept of a registration that waits: little,
// because anybody can have many of them wait.
func waiting(req *tailcfg.RegisterRequest, l *login) *tailcfg.RegisterRequest {
	kept := &tailcfg.RegisterRequest{
		Version:    req.Version,
		NodeKey:    req.NodeKey,
		OldNodeKey: req.OldNodeKey,
		Followup:   l.ID,
		Ephemeral:  req.Ephemeral,
	}
	if req.Hostinfo != nil {
		h := bounded(req.Hostinfo)
		kept.Hostinfo = &h
	}
	return kept
}

func (s *Server) registerResponse(conn *controlConn, a admission) tailcfg.RegisterResponse {
	switch {
	case a.expired:
		return tailcfg.RegisterResponse{NodeKeyExpired: true}
	case a.login != nil:
		url := conn.url + "/login/" + a.login.ID
		s.log.Info("a node waits for approval", "machine", conn.Peer(), "url", url)
		return tailcfg.RegisterResponse{AuthURL: url}
	}
	s.conns.joined(conn.Peer())
	s.log.Info("node registered", "node", a.node.Name, "id", a.node.ID, "ipv4", a.node.IPv4)
	profile := s.current.Load().profile(a.node.shownUser())
	return tailcfg.RegisterResponse{
		MachineAuthorized: true,
		User:              tailcfg.User{ID: profile.ID, DisplayName: profile.DisplayName},
		Login:             tailcfg.Login{ID: int64(profile.ID), LoginName: profile.LoginName, DisplayName: profile.DisplayName},
	}
}
