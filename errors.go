package meshnet

import "errors"

var (
	// ErrTailnetLock means that the mesh is under a tailnet lock, which meshnet
	// cannot verify. See Server.AllowUnsignedPeers.
	ErrTailnetLock = errors.New("the mesh is under a tailnet lock, whose signatures meshnet cannot verify; " +
		"set AllowUnsignedPeers to trust the coordinator alone")

	// ErrControlKeyChanged means that the coordinator at ControlURL shows
	// another key than the one remembered in the Store: it was set up anew, or
	// somebody else answers in its place.
	ErrControlKeyChanged = errors.New("the coordinator's key has changed")

	// ErrLoggedOut means that the program has called [Server.Logout], and not Up
	// since.
	ErrLoggedOut = errors.New("the node has logged out; Up joins the mesh again")
)

// A NeedsLoginError means that a person must open URL to let the node in.
// The node goes on waiting for that in the background: calling Up again later
// succeeds when it has happened.
type NeedsLoginError struct {
	URL string
	// Expired is true when the node was a member before and its key has
	// expired.
	Expired bool
}

// Error says what to do.
func (e *NeedsLoginError) Error() string {
	why := "the coordinator does not know this node"
	if e.Expired {
		why = "the node's key has expired"
	}
	return why + ": sign in at " + e.URL + " (or set AuthKey, or OnAuthURL to be told and wait)"
}

// A RefusedError means that the coordinator refuses the node, for example
// because its auth key is unknown, used up or expired.
type RefusedError struct {
	// Reason is the coordinator's own sentence.
	Reason string
	// Expired is true when the node was a member before and its key has
	// expired, so that it needed to be admitted again.
	Expired bool
	// Changed is true when AuthKey or AdvertiseTags are others than those with
	// which the node was admitted. With the former ones it is still a member.
	Changed bool
}

// Error says what happened and what to do.
func (e *RefusedError) Error() string {
	switch {
	case e.Expired:
		return "the node's key has expired, and the coordinator refuses to renew it: " + e.Reason + " (a new AuthKey is needed)"
	case e.Changed:
		return "AuthKey or AdvertiseTags have changed, and the coordinator refuses the new ones: " + e.Reason + " (set others, or the former ones)"
	}
	return "the coordinator refuses this node: " + e.Reason + " (set an AuthKey that is good, or none to let a person sign in)"
}
