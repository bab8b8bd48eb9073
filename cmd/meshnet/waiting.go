package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/meshnet-go/meshnet/coord"
)

var listWaiting = operation[none, []coord.Login]{"waiting", func(ctx context.Context, s *coord.Server, _ none) ([]coord.Login, error) {
	return s.Logins(ctx)
}}

// An approval is an administrator's word on a node that waits.
type approval struct {
	URL string
	coord.ApproveOptions
}

var approveNode = operation[approval, none]{"waiting/approve", func(ctx context.Context, s *coord.Server, a approval) (none, error) {
	users, err := s.Users(ctx)
	if err == nil {
		err = checkLogin(users, a.User)
	}
	if err != nil {
		return none{}, err
	}
	return none{}, adviseWaiting(s.Approve(ctx, a.URL, a.ApproveOptions))
}}

var rejectNode = operation[string, none]{"waiting/reject", func(ctx context.Context, s *coord.Server, url string) (none, error) {
	return none{}, adviseWaiting(s.Reject(ctx, url))
}}

// adviseWaiting says what to do about a node that does not wait.
func adviseWaiting(err error) error {
	if errors.Is(err, coord.ErrNotFound) {
		return errors.New("no node waits under this URL, or not any more: meshnet nodes waiting lists them")
	}
	return err
}

type waitingConfig struct{ adminConfig }

func (c *waitingConfig) run(ctx context.Context, w world, _ []string) error {
	logins, err := listWaiting.ask(ctx, &c.adminConfig, none{})
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(w.stdout, logins)
	}
	return printWaiting(w.stdout, logins)
}

func printWaiting(out io.Writer, logins []coord.Login) error {
	t := newTable("LOGIN", "CALLS ITSELF", "OS", "ASKS FOR", "SINCE", "UNTIL")
	for _, l := range logins {
		t.add(l.ID, l.Hostname, l.OS, strings.Join(l.Tags, ","), showTime(l.Created), showTime(l.Expires))
	}
	if err := t.print(out, "No node waits to be let in."); err != nil || len(logins) == 0 {
		return err
	}
	_, err := fmt.Fprintln(out, "\nmeshnet nodes approve LOGIN lets one in, if it is the one that was shown this login.")
	return err
}

type approveConfig struct {
	adminConfig
	user   string
	tags   list[string]
	noTags bool
}

func (c *approveConfig) addFlags(fs *flag.FlagSet) {
	c.adminConfig.addFlags(fs)
	c.tags.parse = parseTag
	fs.StringVar(&c.user, "user", "", "`LOGIN` of whose the node will be (default user)")
	fs.Var(&c.tags, "tags", "`TAGS` for the node, with commas between them, in place of those that it asks for")
	fs.BoolVar(&c.noTags, "no-tags", false, "give the node none of the tags that it asks for")
}

func (c *approveConfig) run(ctx context.Context, w world, args []string) error {
	if c.noTags {
		if c.tags.given {
			return usagef("-tags and -no-tags contradict each other")
		}
		c.tags.values = []string{}
	}
	_, err := approveNode.ask(ctx, &c.adminConfig, approval{args[0], coord.ApproveOptions{User: c.user, Tags: c.tags.values}})
	return c.done(w.stdout, err, "The node is let in when it asks next, which is at once if it still waits.")
}

type rejectConfig struct{ adminConfig }

func (c *rejectConfig) run(ctx context.Context, w world, args []string) error {
	_, err := rejectNode.ask(ctx, &c.adminConfig, args[0])
	return c.done(w.stdout, err, "The node is turned away. It may ask again.")
}
