package coord

import "github.com/meshnet-go/meshnet/internal/policy"

// sight is what a node may know at one moment: itself, and whom it sees.
type sight struct {
	self  *node
	view  *policy.View
	terms *terms
}

// sees reports whether the node is told of peer, which may be nil.
func (v sight) sees(peer *node) bool {
	return peer != nil && !v.self.Expired && !peer.Expired && v.view.Sees(peer.ID)
}
