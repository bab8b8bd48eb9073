package main

import (
	"context"

	"github.com/meshnet-go/meshnet/coord"
)

const caHelp = `meshnet ca prints the certificate of the mesh's authority as PEM. Programs that
are no nodes need it to trust the certificates that nodes have: browsers, curl and
others that come through a proxy. It is good for the names within the mesh's domain
and for the addresses of meshes, and for nothing else; nodes built with meshnet know
it by themselves.

Usage:

  meshnet ca -dir DIR [-json]

Examples:

  meshnet ca -dir mesh > mesh.pem
  curl --proxy socks5h://localhost:1080 --cacert mesh.pem https://web.mesh.internal/

MESHNET_DIR may stand for -dir.

Flags:

FLAGS
`

type caConfig struct{ adminConfig }

var getAuthority = operation[none, []byte]{"ca", func(_ context.Context, s *coord.Server, _ none) ([]byte, error) {
	return s.AuthorityPEM(), nil
}}

func (c *caConfig) run(ctx context.Context, w world, _ []string) error {
	text, err := getAuthority.ask(ctx, &c.adminConfig, none{})
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(w.stdout, map[string]string{"Certificate": string(text)})
	}
	_, err = w.stdout.Write(text)
	return err
}
