package main

import (
	"context"
	"fmt"

	"github.com/meshnet-go/meshnet/coord"
)

func coordCommands() []command {
	return []command{
		{name: "secret", summary: "make and print another secret for the administrator's pages", make: newAction[secretConfig]},
	}
}

var resetSecret = operation[none, string]{"secret/reset", func(ctx context.Context, s *coord.Server, _ none) (string, error) {
	return s.ResetAdminSecret(ctx)
}}

// A secretConfig is the flags of meshnet coord secret.
type secretConfig struct{ adminConfig }

func (c *secretConfig) run(ctx context.Context, w world, _ []string) error {
	secret, err := resetSecret.ask(ctx, &c.adminConfig, none{})
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(w.stdout, map[string]string{"Secret": secret})
	}
	fmt.Fprintln(w.stdout, secret)
	return nil
}
