package coord

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

const (
	// defaultUser is whose nodes are that belong to nobody else.
	defaultUser      tailcfg.UserID = 1
	defaultUserLogin                = "user"
	// taggedUser stands for nobody: tagged nodes act for themselves. The
	// number is the one that Tailscale and Headscale use.
	taggedUser tailcfg.UserID = 2147455555

	maxLogin    = 254 // bytes, as of mail addresses (RFC 3696, erratum 1690)
	maxUserName = 256 // bytes
)

// User is somebody whose nodes are in the tailnet. There is always one: the
// user "user", whose nodes are that come without saying whose they are.
type User struct {
	ID int64 // never reused
	// Login is "alice" or "alice@example.com", in lower case. A policy names
	// the former "alice@".
	Login string
	// Name is for people to read. Empty means Login.
	Name string
	// Admin users may apply any tag of the policy to their nodes, and are the
	// policy's autogroup:admin. It does not let them sign in to the pages of
	// the coordinator.
	Admin   bool
	Created time.Time
}

// user is the record of a User.
type user struct{ User }

func (u *user) entryKey() string { return entryKey(kindUser, u.ID) }

func (u *user) enter(s *state) {
	s.users[tailcfg.UserID(u.ID)] = u
	s.byLogin[u.Login] = u
	s.usersChanged = true
}

func (u *user) leave(s *state) {
	delete(s.users, tailcfg.UserID(u.ID))
	if s.byLogin[u.Login] == u {
		delete(s.byLogin, u.Login)
	}
	s.usersChanged = true
}

func (u *user) check() error {
	if u.ID <= 0 {
		return errors.New("the user has no ID")
	}
	return checkLogin(u.Login)
}

// canonicalLogin returns the form in which a login is kept.
func canonicalLogin(login string) string { return strings.ToLower(strings.TrimSuffix(login, "@")) }

func checkLogin(login string) error {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`",:/\*`, r) }
	if login == "" || len(login) > maxLogin || login != canonicalLogin(login) || strings.ContainsFunc(login, bad) || strings.Count(login, "@") > 1 || strings.HasPrefix(login, "@") {
		return fmt.Errorf("coord: %.300q is not a login; want one such as \"alice\" or \"alice@example.com\"", login)
	}
	return nil
}

// profile is how the user is shown to nodes.
func (u *user) profile(domain string) tailcfg.UserProfile {
	p := tailcfg.UserProfile{ID: tailcfg.UserID(u.ID), LoginName: u.Login, DisplayName: cmp.Or(u.Name, u.Login)}
	if !strings.Contains(p.LoginName, "@") {
		p.LoginName += "@" + domain
	}
	return p
}

// userOf returns the user with the login; the default one for "".
func (s *state) userOf(login string) (*user, error) {
	login = cmp.Or(canonicalLogin(login), defaultUserLogin)
	if u := s.byLogin[login]; u != nil {
		return u, nil
	}
	return nil, fmt.Errorf("coord: user %.300q: %w", login, ErrNotFound)
}

func (s *state) createUser(now time.Time, o UserOptions) (User, error) {
	login := canonicalLogin(o.Login)
	if err := checkUser(login, o.Name); err != nil {
		return User{}, err
	}
	if s.byLogin[login] != nil {
		return User{}, fmt.Errorf("coord: there is a user %q already", login)
	}
	s.give(func(l *ledger) { l.LastUser = max(l.LastUser, defaultUser) + 1 })
	u := &user{User{ID: int64(s.ledger.LastUser), Login: login, Name: o.Name, Admin: o.Admin, Created: now}}
	s.put(u)
	return u.User, nil
}

func checkUser(login, name string) error {
	if len(name) > maxUserName {
		return fmt.Errorf("coord: the name of a user has more than %d bytes", maxUserName)
	}
	return checkLogin(login)
}

func (s *state) changeUser(login string, o UserOptions) error {
	u, err := s.userOf(login)
	if err != nil {
		return err
	}
	changed := *u
	changed.Login, changed.Name, changed.Admin = canonicalLogin(o.Login), o.Name, o.Admin
	if err := checkUser(changed.Login, changed.Name); err != nil {
		return err
	}
	if changed.Login != u.Login {
		if s.byLogin[changed.Login] != nil || u.Login == defaultUserLogin {
			return fmt.Errorf("coord: the user %q cannot become %q, because one of them is there for good", u.Login, changed.Login)
		}
		s.give(func(*ledger) {})
	}
	s.put(&changed)
	return nil
}

// removeUser removes a user that has nothing. The ledger sees to it that
// nothing is given to the user at the same time.
func (s *state) removeUser(now time.Time, login string) error {
	u, err := s.userOf(login)
	if err != nil {
		return err
	}
	if u.Login == defaultUserLogin {
		return fmt.Errorf("coord: the user %q cannot be removed", u.Login)
	}
	for _, n := range s.nodes {
		if n.User == tailcfg.UserID(u.ID) {
			return fmt.Errorf("coord: the user %q still has the node %s; remove it or give it to another user first", u.Login, n.Name)
		}
	}
	for _, k := range s.authKeys {
		if k.Owner == tailcfg.UserID(u.ID) && !k.useless(now) {
			return fmt.Errorf("coord: the user %q still has the auth key %s; revoke it first", u.Login, k.ID)
		}
	}
	s.give(func(*ledger) {})
	s.drop(u)
	return nil
}

func (s *state) listUsers() []User {
	list := make([]User, 0, len(s.users))
	for _, u := range s.users {
		list = append(list, u.User)
	}
	slices.SortFunc(list, func(a, b User) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
