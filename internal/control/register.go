package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// requestTimeout is for a request that the coordinator answers at once.
const requestTimeout = 30 * time.Second

// enrol asks the coordinator to make the node a member. With a followup it
// waits, for as long as it takes, until a person has visited that URL.
func (s *Session) enrol(ctx context.Context, followup string) verdict {
	if followup == "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	req := s.registerRequest()
	req.Followup = followup
	resp, err := s.register(ctx, req)
	if err != nil {
		err = fmt.Errorf("registering: %w", err)
	}
	return afterRegister(resp, err, followup)
}

// logout makes the coordinator expire the node key, or forget an ephemeral
// node.
func (s *Session) logout(ctx context.Context) error {
	req := s.registerRequest()
	req.Auth = nil // else the node would be let in again
	req.Expiry = time.Unix(123, 0).UTC()
	resp, err := s.register(ctx, req)
	if err == nil && resp.Error != "" {
		err = &RefusedError{resp.Error}
	}
	if err != nil {
		return fmt.Errorf("logging out: %w", err)
	}
	return nil
}

func (s *Session) registerRequest() *tailcfg.RegisterRequest {
	hostinfo := s.reports.latest().Hostinfo
	req := &tailcfg.RegisterRequest{
		Version:    tailcfg.CurrentCapability,
		NodeKey:    s.cfg.NodeKey,
		OldNodeKey: s.cfg.OldNodeKey,
		Hostinfo:   &hostinfo,
		Ephemeral:  s.cfg.Ephemeral,
	}
	if s.cfg.AuthKey != "" {
		req.Auth = &tailcfg.RegisterAuth{AuthKey: s.cfg.AuthKey}
	}
	return req
}

// register sends one request. The coordinator's words come back without the
// auth key that they are about.
func (s *Session) register(ctx context.Context, req *tailcfg.RegisterRequest) (*tailcfg.RegisterResponse, error) {
	answer, err := s.client.post(ctx, "/machine/register", req)
	if status, ok := errors.AsType[*statusError](err); ok {
		status.text = s.withoutAuthKey(status.text)
	}
	if err != nil {
		return nil, err
	}
	defer finish(answer)
	var resp tailcfg.RegisterResponse
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxBody)).Decode(&resp); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	resp.Error = s.withoutAuthKey(resp.Error)
	resp.Error = resp.Error[:min(len(resp.Error), maxErrorText)]
	return &resp, nil
}

func (s *Session) withoutAuthKey(text string) string {
	if s.cfg.AuthKey == "" {
		return text
	}
	return strings.ReplaceAll(text, s.cfg.AuthKey, "[auth key]")
}
