package main

import (
	"context"
	"path/filepath"

	"github.com/meshnet-go/meshnet/coord"
)

// complete knows what a coordinator knows that runs.
func (c *adminConfig) complete(ctx context.Context, argument string) []suggested {
	if c.dir == "" {
		return nil
	}
	conn, err := dialLocal(ctx, filepath.Join(c.dir, adminSocket))
	if err != nil {
		return nil // nobody waits for a database at the Tab key
	}
	conn.Close()
	switch argument {
	case "NODE":
		nodes, _ := listNodes.ask(ctx, c, none{})
		return suggestEach(nodes, func(n coord.Node) suggested { return suggested{label(n), owner(n)} })
	case "LOGIN":
		users, _ := listUsers.ask(ctx, c, none{})
		return suggestEach(users, func(u shownUser) suggested { return suggested{u.Login, u.Name} })
	case "URL":
		logins, _ := listWaiting.ask(ctx, c, none{})
		return suggestEach(logins, func(l coord.Login) suggested { return suggested{l.ID, l.Hostname} })
	case "ID":
		keys, _ := listAuthKeys.ask(ctx, c, none{})
		return suggestEach(keys, func(k shownAuthKey) suggested { return suggested{k.ID, k.User} })
	}
	return nil
}

func suggestEach[T any](all []T, what func(T) suggested) (found []suggested) {
	for _, one := range all {
		found = append(found, what(one))
	}
	return found
}
