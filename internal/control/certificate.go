package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// maxChain is how many certificates are taken from the coordinator.
const maxChain = 10

// Certificate has meshnet's coordinator certify a key for the node's name and
// addresses. It takes a request (PKCS #10, in DER), and returns the certificate
// and those above it, in DER.
func (s *Session) Certificate(ctx context.Context, request []byte) (chain [][]byte, err error) {
	var resp tailcfg.CertificateResponse
	err = s.ask(ctx, "/machine/certificate", tailcfg.CertificateRequest{
		Version: tailcfg.CurrentCapability,
		NodeKey: s.cfg.NodeKey,
		Request: request,
	}, &resp)
	if err == nil && (len(resp.Chain) == 0 || len(resp.Chain) > maxChain) {
		err = errors.New("it is no chain of certificates")
	}
	if err != nil {
		return nil, fmt.Errorf("asking the coordinator for a certificate: %w", err)
	}
	return resp.Chain, nil
}

// PublishTXT has the coordinator put a TXT record into the public DNS, for the
// ACME challenge of one of the node's names.
func (s *Session) PublishTXT(ctx context.Context, name, value string) error {
	err := s.ask(ctx, "/machine/set-dns", tailcfg.SetDNSRequest{
		Version: tailcfg.CurrentCapability,
		NodeKey: s.cfg.NodeKey,
		Name:    name,
		Type:    "TXT",
		Value:   value,
	}, nil)
	if err != nil {
		return fmt.Errorf("having the coordinator publish %s: %w", name, err)
	}
	return nil
}

// ask posts a request that has a short answer, and reads that into answer
// unless it is nil.
func (s *Session) ask(ctx context.Context, path string, request, answer any) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	resp, err := s.client.post(ctx, path, request)
	if err != nil {
		return err
	}
	defer finish(resp)
	if answer == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(answer)
}
