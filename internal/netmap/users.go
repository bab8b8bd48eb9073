package netmap

import (
	"maps"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// applyUsers adds or replaces profiles. None is ever removed: the profile of a
// peer that comes back is not sent again.
func (m *Map) applyUsers(profiles []tailcfg.UserProfile) {
	if len(profiles) == 0 {
		return
	}
	users := make(map[tailcfg.UserID]tailcfg.UserProfile, len(m.users)+len(profiles))
	maps.Copy(users, m.users)
	for _, p := range profiles {
		users[p.ID] = p
	}
	m.users = users
}

// User returns the profile of a user.
func (m *Map) User(id tailcfg.UserID) (profile tailcfg.UserProfile, ok bool) {
	if m == nil {
		return tailcfg.UserProfile{}, false
	}
	profile, ok = m.users[id]
	return profile, ok
}
