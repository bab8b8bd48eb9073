package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/meshnet-go/meshnet/coord"
)

const usersHelp = `meshnet users lists the users of the mesh, and changes them. Nodes and auth keys
belong to users, and policies name them. There is always the user "user".

Usage:

  meshnet users -dir DIR [-json]
  meshnet users COMMAND -dir DIR [flags] ...

Examples:

  meshnet users add -dir mesh -name "Ann Other" ann
  meshnet authkey -dir mesh -user ann
  meshnet users change -dir mesh -login ann@example.com ann

MESHNET_DIR may stand for -dir.

Flags:

FLAGS
`

func userCommands() []command {
	return []command{
		{name: "list", summary: "list the users", make: newAction[usersListConfig]},
		{name: "add", args: "LOGIN", summary: "add a user", make: newAction[usersAddConfig]},
		{name: "change", args: "LOGIN", summary: "change what is known of a user, who keeps nodes and auth keys", make: newAction[usersChangeConfig]},
		{name: "remove", args: "LOGIN", summary: "remove a user who has no nodes and no auth keys", make: newAction[usersRemoveConfig]},
	}
}

// A shownUser is one with the number of nodes.
type shownUser struct {
	coord.User
	Nodes int // without those that have tags
}

var listUsers = operation[none, []shownUser]{"users", func(ctx context.Context, s *coord.Server, _ none) ([]shownUser, error) {
	users, err := s.Users(ctx)
	shown := make([]shownUser, len(users))
	for i, u := range users {
		shown[i].User = u
		for _, n := range s.Nodes() {
			if n.User == u.Login && len(n.Tags) == 0 {
				shown[i].Nodes++
			}
		}
	}
	return shown, err
}}

var addUser = operation[coord.UserOptions, coord.User]{"users/add", func(ctx context.Context, s *coord.Server, o coord.UserOptions) (coord.User, error) {
	return s.CreateUser(ctx, o)
}}

// A userChange is what is to be different about a user; nil stays as it is.
type userChange struct {
	User        string // login
	Login, Name *string
	Admin       *bool
}

var changeUser = operation[userChange, coord.User]{"users/change", func(ctx context.Context, s *coord.Server, c userChange) (coord.User, error) {
	u, err := findUser(ctx, s, c.User)
	if err != nil {
		return u, err
	}
	o := coord.UserOptions{Login: or(c.Login, u.Login), Name: or(c.Name, u.Name), Admin: or(c.Admin, u.Admin)}
	if err := s.ChangeUser(ctx, u.Login, o); err != nil {
		return u, err
	}
	return findUser(ctx, s, o.Login)
}}

var removeUser = operation[string, none]{"users/remove", func(ctx context.Context, s *coord.Server, login string) (none, error) {
	return none{}, adviseUser(login, s.RemoveUser(ctx, login))
}}

func or[T any](p *T, otherwise T) T {
	if p != nil {
		return *p
	}
	return otherwise
}

func findUser(ctx context.Context, s *coord.Server, login string) (coord.User, error) {
	users, err := s.Users(ctx)
	if err != nil {
		return coord.User{}, err
	}
	if err := checkLogin(users, login); err != nil {
		return coord.User{}, err
	}
	return users[indexUser(users, login)], nil
}

func indexUser(users []coord.User, login string) int {
	login = strings.ToLower(strings.TrimSuffix(login, "@"))
	return slices.IndexFunc(users, func(u coord.User) bool { return u.Login == login })
}

// checkLogin says what to do about a user who is not there.
func checkLogin(users []coord.User, login string) error {
	if login == "" || indexUser(users, login) >= 0 {
		return nil
	}
	return adviseUser(login, coord.ErrNotFound)
}

type usersListConfig struct{ adminConfig }

func (c *usersListConfig) run(ctx context.Context, w world, _ []string) error {
	users, err := listUsers.ask(ctx, &c.adminConfig, none{})
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(w.stdout, users)
	}
	t := newTable("ID", "LOGIN", "NAME", "ADMIN", "NODES", "CREATED")
	for _, u := range users {
		admin := ""
		if u.Admin {
			admin = "yes"
		}
		t.add(strconv.FormatInt(u.ID, 10), u.Login, u.Name, admin, strconv.Itoa(u.Nodes), showTime(u.Created))
	}
	return t.print(w.stdout, "")
}

// A userFlags is the flags that say what a user is to be.
type userFlags struct {
	name  *string
	admin *bool
}

func (f *userFlags) addFlags(fs *flag.FlagSet) {
	fs.Func("name", "`NAME` for people to read", func(text string) error {
		f.name = &text
		return nil
	})
	fs.BoolFunc("admin", "the policy's autogroup:admin, who may apply any of its tags; it does not let\nthem sign in to the coordinator's pages", func(text string) error {
		admin, err := strconv.ParseBool(text)
		if f.admin = &admin; err != nil {
			return errors.New("want true or false")
		}
		return nil
	})
}

type usersAddConfig struct {
	adminConfig
	user userFlags
}

func (c *usersAddConfig) addFlags(fs *flag.FlagSet) {
	c.adminConfig.addFlags(fs)
	c.user.addFlags(fs)
}

func (c *usersAddConfig) run(ctx context.Context, w world, args []string) error {
	u, err := addUser.ask(ctx, &c.adminConfig, coord.UserOptions{Login: args[0], Name: or(c.user.name, ""), Admin: or(c.user.admin, false)})
	return c.toldUser(w.stdout, u, err, "There is a user")
}

// toldUser prints a user that has been changed.
func (c *adminConfig) toldUser(out io.Writer, u coord.User, err error, sentence string) error {
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(out, u)
	}
	_, err = fmt.Fprintf(out, "%s %s.\n", sentence, plain(u.Login))
	return err
}

type usersChangeConfig struct {
	adminConfig
	user  userFlags
	login *string
}

func (c *usersChangeConfig) addFlags(fs *flag.FlagSet) {
	c.adminConfig.addFlags(fs)
	c.user.addFlags(fs)
	fs.Func("login", "`LOGIN` that the user gets instead", func(text string) error {
		c.login = &text
		return nil
	})
}

func (c *usersChangeConfig) run(ctx context.Context, w world, args []string) error {
	if c.login == nil && c.user.name == nil && c.user.admin == nil {
		return usagef("nothing is to be changed: give -login, -name or -admin")
	}
	u, err := changeUser.ask(ctx, &c.adminConfig, userChange{args[0], c.login, c.user.name, c.user.admin})
	return c.toldUser(w.stdout, u, err, "Changed the user")
}

type usersRemoveConfig struct{ adminConfig }

func (c *usersRemoveConfig) run(ctx context.Context, w world, args []string) error {
	_, err := removeUser.ask(ctx, &c.adminConfig, args[0])
	return c.done(w.stdout, err, fmt.Sprintf("The user %s is removed.", args[0]))
}
