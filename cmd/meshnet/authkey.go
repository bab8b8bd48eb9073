package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/coord"
)

const authKeyHelp = `meshnet authkey makes an auth key, with which a node joins without being asked
anything, and prints it. It cannot be seen again: only its hash is kept.

Usage:

  meshnet authkey -dir DIR [flags]

Examples:

  meshnet authkey -dir mesh
      admits one node, at any time
  meshnet authkey -dir mesh -reusable -expiry 24h -user ann
      admits any number of nodes of the user ann until tomorrow
  meshnet authkey -dir mesh -reusable -ephemeral -tags tag:ci
      admits nodes tagged tag:ci, which are forgotten when they go

Flags:

FLAGS
`

// An authKeyConfig is the flags of meshnet authkey.
type authKeyConfig struct {
	adminConfig
	reusable, ephemeral bool
	user                string
	tags                list[string]
	expiry              time.Duration
}

func (c *authKeyConfig) addFlags(fs *flag.FlagSet) {
	c.adminConfig.addFlags(fs)
	c.tags.parse = parseTag
	fs.BoolVar(&c.reusable, "reusable", false, "admit any number of nodes, and not only one")
	fs.BoolVar(&c.ephemeral, "ephemeral", false, "forget the nodes within a minute after they have gone")
	fs.StringVar(&c.user, "user", "", "`LOGIN` of whose the nodes will be (default user)")
	fs.Var(&c.tags, "tags", "`TAGS` for the nodes, with commas between them, such as tag:web,tag:db")
	fs.Func("expiry", "`TIME` for which the key admits nodes, such as 90m, 24h or 30d; the nodes\noutlive it (default: for ever)", func(text string) (err error) {
		c.expiry, err = parseTime(text)
		return err
	})
}

func (c *authKeyConfig) run(ctx context.Context, w world, _ []string) error {
	secret, err := createAuthKey.ask(ctx, &c.adminConfig, coord.AuthKeyOptions{
		Reusable: c.reusable, Ephemeral: c.ephemeral, User: c.user, Tags: c.tags.values, Lifetime: c.expiry,
	})
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(w.stdout, map[string]string{"Key": secret})
	}
	fmt.Fprintln(w.stdout, secret)
	return nil
}

// parseTime reads a time that is not zero; days are among the units.
func parseTime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return 0, errors.New("want a time such as 90m, 24h or 30d")
	}
	return d, nil
}

var createAuthKey = operation[coord.AuthKeyOptions, string]{"authkeys/create", func(ctx context.Context, s *coord.Server, o coord.AuthKeyOptions) (string, error) {
	secret, err := s.CreateAuthKey(ctx, o)
	return secret, adviseUser(o.User, err)
}}

// A shownAuthKey is one in JSON, whose User the store leaves out.
type shownAuthKey struct {
	coord.AuthKey
	User string
}

var listAuthKeys = operation[none, []shownAuthKey]{"authkeys", func(ctx context.Context, s *coord.Server, _ none) ([]shownAuthKey, error) {
	keys, err := s.AuthKeys(ctx)
	shown := make([]shownAuthKey, len(keys))
	for i, k := range keys {
		shown[i] = shownAuthKey{k, k.User}
	}
	return shown, err
}}

var revokeAuthKey = operation[string, none]{"authkeys/revoke", func(ctx context.Context, s *coord.Server, keyOrID string) (none, error) {
	err := s.RevokeAuthKey(ctx, keyOrID)
	if errors.Is(err, coord.ErrNotFound) {
		err = errors.New("there is no such auth key: meshnet authkey list lists them")
	}
	return none{}, err
}}

func authKeyCommands() []command {
	return []command{
		{name: "list", summary: "list the auth keys", make: newAction[authKeyListConfig]},
		{name: "revoke", args: "ID", summary: "make an auth key admit nobody any more; the nodes stay", make: newAction[authKeyRevokeConfig]},
	}
}

type authKeyListConfig struct{ adminConfig }

func (c *authKeyListConfig) run(ctx context.Context, w world, _ []string) error {
	keys, err := listAuthKeys.ask(ctx, &c.adminConfig, none{})
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(w.stdout, keys)
	}
	t := newTable("ID", "USER", "TAGS", "KIND", "USED", "CREATED", "EXPIRES", "STATE")
	for _, k := range keys {
		t.add(k.ID, k.User, strings.Join(k.Tags, ","), k.kind(), strconv.Itoa(k.Uses), showTime(k.Created), showTime(k.Expires), k.state(time.Now()))
	}
	return t.print(w.stdout, "There are no auth keys; meshnet authkey makes one.")
}

func (k *shownAuthKey) kind() string {
	kind := "single"
	if k.Reusable {
		kind = "reusable"
	}
	if k.Ephemeral {
		kind += ", ephemeral"
	}
	return kind
}

func (k *shownAuthKey) state(now time.Time) string {
	switch {
	case k.Revoked:
		return "revoked"
	case !k.Expires.IsZero() && now.After(k.Expires):
		return "expired"
	case !k.Reusable && k.Uses > 0:
		return "used"
	}
	return "valid"
}

type authKeyRevokeConfig struct{ adminConfig }

func (c *authKeyRevokeConfig) run(ctx context.Context, w world, args []string) error {
	_, err := revokeAuthKey.ask(ctx, &c.adminConfig, args[0])
	return c.done(w.stdout, err, "The key admits nobody any more. Nodes that joined with it stay: meshnet nodes lists them.")
}
