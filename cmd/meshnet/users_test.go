package main

import (
	"testing"
)

func TestUsers(t *testing.T) {
	h := host(t, shortDir(t))
	h.says(t, []string{"There is a user ann."}, "users", "add", "-name", "Ann Other", "ann")
	h.says(t, []string{"There is a user bob."}, "users", "add", "-admin", "Bob@")
	h.join(t, "one", h.authKey(t, "-user", "ann"))
	users := decodes[[]shownUser](t, h, "users")
	if len(users) != 3 || users[1].Name != "Ann Other" || users[1].Nodes != 1 || users[1].Admin || !users[2].Admin {
		t.Errorf("the users: %+v", users)
	}
	h.says(t, []string{"LOGIN", "Ann Other", "yes"}, "users", "list")

	h.says(t, []string{"ann@example.com"}, "users", "change", "-login", "ann@example.com", "ann")
	h.says(t, []string{"bob"}, "users", "change", "-admin=false", "bob")
	users = decodes[[]shownUser](t, h, "users")
	if users[1].Login != "ann@example.com" || users[1].Name != "Ann Other" || users[1].Nodes != 1 || users[2].Admin {
		t.Errorf("the users after changes: %+v", users)
	}

	h.refuses(t, exitFailed, "already", "users", "add", "bob")
	h.refuses(t, exitFailed, "not a login", "users", "add", "a b")
	h.refuses(t, exitFailed, "meshnet users lists", "users", "change", "-name", "x", "carol")
	h.refuses(t, exitUsage, "-login, -name or -admin", "users", "change", "bob")
	h.refuses(t, exitUsage, "-admin", "users", "change", "-admin=perhaps", "bob")
	h.refuses(t, exitFailed, "still has the node one", "users", "remove", "ann@example.com")
	h.refuses(t, exitFailed, "meshnet users lists", "users", "remove", "carol")
	h.refuses(t, exitFailed, "meshnet users lists", "authkey", "-user", "carol")
	h.says(t, []string{"bob is removed"}, "users", "remove", "bob")
}
