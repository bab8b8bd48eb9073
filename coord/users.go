package coord

import (
	"context"
	"time"
)

// UserOptions is what a user is to be; see [User].
type UserOptions struct {
	Login string
	Name  string
	Admin bool
}

// CreateUser makes a user. It is an error if there is one with that login.
func (s *Server) CreateUser(ctx context.Context, o UserOptions) (User, error) {
	return decide(ctx, s, func(now time.Time, st *state) (User, error) { return st.createUser(now, o) })
}

// ChangeUser makes the user with the login what the options say; the login may
// be another one, too. Nodes and auth keys stay the user's. The user "user"
// keeps its login.
func (s *Server) ChangeUser(ctx context.Context, login string, o UserOptions) error {
	return s.do(ctx, func(_ time.Time, st *state) error { return st.changeUser(login, o) })
}

// RemoveUser forgets a user that has neither nodes nor auth keys that still
// admit some.
func (s *Server) RemoveUser(ctx context.Context, login string) error {
	return s.do(ctx, func(now time.Time, st *state) error { return st.removeUser(now, login) })
}

// Users returns all users in the order of their making.
func (s *Server) Users(ctx context.Context) ([]User, error) {
	return decide(ctx, s, func(_ time.Time, st *state) ([]User, error) { return st.listUsers(), nil })
}
