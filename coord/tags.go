package coord

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// maxTags bounds the tags of a node, which all its peers are told.
const maxTags = 50

// checkTags returns the tags in order, each once, or what is wrong with them.
func checkTags(tags []string) ([]string, error) {
	for _, tag := range tags {
		if name, ok := strings.CutPrefix(tag, "tag:"); !ok || name == "" || name != label(name) {
			return nil, fmt.Errorf("coord: %.80q is not a tag; want one such as \"tag:web\", in lower case", tag)
		}
	}
	tags = slices.Compact(slices.Sorted(slices.Values(tags)))
	if len(tags) > maxTags {
		return nil, fmt.Errorf("coord: these are %d tags, and a node may have %d", len(tags), maxTags)
	}
	return tags, nil
}

// tag gives the node tags, which take the place of its user: it does not
// expire any more.
func (n *node) tag(tags []string) {
	if n.Tags = tags; len(tags) > 0 {
		n.KeyExpiry, n.Expired = time.Time{}, false
	}
}

// tagsFor returns the tags of a node that has some, or is given them, and asks
// for more in its registration: those that the policy lets its user apply, or
// the tags that it has.
func (s *state) tagsFor(req *tailcfg.RegisterRequest, has []string, owner tailcfg.UserID) ([]string, error) {
	if req.Hostinfo == nil {
		return has, nil
	}
	tags := slices.Clone(has)
	for _, tag := range req.Hostinfo.RequestTags {
		switch {
		case slices.Contains(tags, tag):
		case s.mayApply(owner, has, tag):
			tags = append(tags, tag)
		default:
			return nil, refusal(fmt.Sprintf("the node asks for %.80q, which its user may not apply, and it was given %q", tag, strings.Join(has, ",")))
		}
	}
	if len(tags) == len(has) {
		return has, nil
	}
	tags, err := checkTags(tags)
	if err != nil {
		return nil, refusal(err.Error())
	}
	return tags, nil
}
