package control

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
)

// ask gets u from the coordinator.
func (c *Config) ask(ctx context.Context, u *url.URL, read func(*http.Response) error) error {
	return c.callOutside(ctx, http.MethodGet, u, nil, read)
}

// callOutside makes a request that does not go through Noise, by the browser's
// fetch. The browser checks certificates, and whether the coordinator lets pages
// of other origins see the answer. It follows no redirects.
func (c *Config) callOutside(ctx context.Context, method string, u *url.URL, body []byte, read func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("js.fetch:redirect", "error")
	req.Header.Set("js.fetch:credentials", "omit")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return read(resp)
}
