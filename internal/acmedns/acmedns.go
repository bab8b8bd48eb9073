// Package acmedns gets certificates from a public authority by ACME (RFC 8555),
// proving that names are one's own by records in their DNS (section 8.4).
package acmedns

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/crypto/acme"
)

// LetsEncrypt is the directory of an authority that browsers trust.
const LetsEncrypt = acme.LetsEncryptURL

// Client is the account of somebody at an authority.
type Client struct {
	Directory string        // URL of the authority
	Key       crypto.Signer // of the account, which is made when there is none yet
	HTTP      *http.Client
	// Publish puts a TXT record into the DNS, and returns when it is there.
	Publish func(ctx context.Context, name, value string) error
}

// Obtain returns the certificate for which request (PKCS #10, in DER) asks, and
// those above it, in DER. The names are those in request. It accepts the
// authority's terms of service.
func (c *Client) Obtain(ctx context.Context, names []string, request []byte) (chain [][]byte, err error) {
	client := &acme.Client{Key: c.Key, DirectoryURL: c.Directory, HTTPClient: c.HTTP, UserAgent: "meshnet"}
	if _, err := client.Register(ctx, new(acme.Account), acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil, fmt.Errorf("opening an account at %s: %w", c.Directory, err)
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(names...))
	if err != nil {
		return nil, fmt.Errorf("ordering a certificate: %w", err)
	}
	for _, url := range order.AuthzURLs {
		if err := c.prove(ctx, client, url); err != nil {
			return nil, err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return nil, fmt.Errorf("waiting for the certificate: %w", err)
	}
	chain, _, err = client.CreateOrderCert(ctx, order.FinalizeURL, request, true)
	if err != nil {
		return nil, fmt.Errorf("getting the certificate: %w", err)
	}
	return chain, nil
}

// prove shows the authority that a name is ours, unless it remembers.
func (c *Client) prove(ctx context.Context, client *acme.Client, url string) error {
	auth, err := client.GetAuthorization(ctx, url)
	if err != nil {
		return fmt.Errorf("asking what proof is wanted: %w", err)
	}
	if auth.Status == acme.StatusValid {
		return nil
	}
	for _, challenge := range auth.Challenges {
		if challenge.Type != "dns-01" {
			continue
		}
		value, err := client.DNS01ChallengeRecord(challenge.Token)
		if err != nil {
			return err
		}
		if err := c.Publish(ctx, "_acme-challenge."+auth.Identifier.Value, value); err != nil {
			return err
		}
		if _, err := client.Accept(ctx, challenge); err != nil {
			return fmt.Errorf("proving that %s is ours: %w", auth.Identifier.Value, err)
		}
		if _, err := client.WaitAuthorization(ctx, url); err != nil {
			return fmt.Errorf("proving that %s is ours: %w", auth.Identifier.Value, err)
		}
		return nil
	}
	return fmt.Errorf("%s takes no proof by DNS for %s", c.Directory, auth.Identifier.Value)
}
