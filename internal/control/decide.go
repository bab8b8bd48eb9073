package control

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// step is what a session does next.
type step int

const (
	enrol  step = iota // register the node, which the coordinator does not know
	follow             // stream the map to the node, which is a member
	over               // nothing: the session has ended
)

// verdict is what follows from an answer of the coordinator.
type verdict struct {
	next     step
	pause    bool          // before it: what was tried did not work
	wait     time.Duration // if so, for no shorter than this
	event    Event         // for the parent, if it is not empty
	followup string        // the AuthURL that an enrolment waits for
}

// The coordinator says 429 from capability version 137 on. When it does not
// say for how long, Tailscale's client takes 5 to 10 s.
const defaultRetryAfter = 10 * time.Second

// afterRegister judges the answer to a registration, which was waiting for a
// person to visit followup unless that is empty.
func afterRegister(resp *tailcfg.RegisterResponse, err error, followup string) verdict {
	if err != nil {
		return afterFailedRegister(err, followup)
	}
	switch { // in the order in which Tailscale's client looks
	case resp.Error != "":
		return verdict{next: over, event: Event{Err: &RefusedError{resp.Error}}}
	case len(resp.NodeKeySignature) > 0:
		return verdict{next: over, event: Event{Err: ErrTailnetLock}}
	case resp.NodeKeyExpired:
		return verdict{next: over, event: Event{Err: ErrNodeKeyExpired}}
	case resp.AuthURL == "":
		return verdict{next: follow, event: Event{Registered: resp}}
	}
	v := verdict{next: enrol, followup: resp.AuthURL}
	v.pause = followup != "" // the coordinator did not wait, or no longer
	if resp.AuthURL != followup {
		v.event = Event{AuthURL: resp.AuthURL}
	}
	return v
}

func afterFailedRegister(err error, followup string) verdict {
	v := verdict{next: enrol, pause: true, wait: retryAfter(err), event: Event{Err: err}, followup: followup}
	status := refusal(err)
	switch {
	case status == nil:
		return v
	case followup != "":
		v.followup = "" // the coordinator has forgotten it, perhaps in a restart
		return v
	}
	return verdict{next: over, event: Event{Err: &RefusedError{cmp.Or(status.text, status.status())}}}
}

// afterStream judges why a stream of the map has ended.
func afterStream(err error) verdict {
	v := verdict{next: follow, pause: true, wait: retryAfter(err), event: Event{Err: err}}
	if refusal(err) != nil {
		v.next = enrol
	}
	return v
}

// refusal returns the answer in err if it is one that does not change by asking
// again.
func refusal(err error) *statusError {
	status, ok := errors.AsType[*statusError](err)
	if !ok || status.code < 400 || status.code > 499 {
		return nil
	}
	switch status.code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return nil
	}
	return status
}

// retryAfter returns how long the coordinator asks us to wait.
func retryAfter(err error) time.Duration {
	status, ok := errors.AsType[*statusError](err)
	switch {
	case !ok:
		return 0
	case status.code == http.StatusTooManyRequests && status.retryAfter == 0:
		return defaultRetryAfter
	}
	return status.retryAfter
}
