package cert

import (
	"errors"
	"testing"
	"time"
)

func TestPlan(t *testing.T) {
	a := newAuthority(t)
	want := Want{Names: []string{name}, Addrs: addrs, Roots: [][]byte{a.Root()}}
	other := Want{Names: []string{"db." + domain}, Addrs: addrs, Roots: want.Roots}
	var p Plan
	why := errors.New("it is late")
	due := func(what string, want Want, now time.Time, wait time.Duration) {
		t.Helper()
		if got := p.Due(want, now); got != wait {
			t.Errorf("%s: due in %v, want %v", what, got, wait)
		}
	}
	due("without a certificate", want, epoch, 0)
	p.Failed(epoch, why)
	due("after a failure", want, epoch, firstPause)
	due("some time after a failure", want, epoch.Add(firstPause), 0)
	p.Failed(epoch, why)
	due("after two", want, epoch, 2*firstPause)
	for range 100 {
		p.Failed(epoch, why)
	}
	due("after many", want, epoch, maxPause)

	if p.Problem != why {
		t.Errorf("the problem is %v", p.Problem)
	}

	p.Got(issue(t, a, name, addrs), want)
	if p.Problem != nil {
		t.Errorf("the problem still is %v", p.Problem)
	}
	half := RenewAt(p.Held)
	due("with a certificate", want, epoch, half.Sub(epoch))
	due("in the middle of its life", want, half, 0)
	p.Failed(half, why)
	due("when renewing has failed", want, half, firstPause)
	if p.Held == nil {
		t.Error("a certificate that is good is dropped")
	}
	due("under another name", other, half, 0)
	if p.Held != nil {
		t.Error("a certificate for another name is held")
	}

	p = Plan{Held: issue(t, a, name, addrs)} // of an earlier run
	due("that is from an earlier run", want, epoch.Add(time.Hour), half.Sub(epoch)-time.Hour)
	p = Plan{Held: issue(t, a, name, addrs)}
	due("that has expired since", want, epoch.Add(lifetime+time.Second), 0)
	if p.Held != nil {
		t.Error("a certificate that has expired is held")
	}
}
