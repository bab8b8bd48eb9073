package coord

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// PathState is how two nodes reach each other.
type PathState string

// The states of a path.
const (
	PathDirect  PathState = "direct"
	PathRelayed PathState = "relayed"
	PathSilent  PathState = "silent"  // the last ping was not answered
	PathUnknown PathState = "unknown" // there was none yet
)

// Path is how one node reached another when it was last asked to.
type Path struct {
	From, To         int64  // IDs of nodes; From has sent the ping, unless there was none
	FromName, ToName string // MagicDNS names, without trailing dots
	State            PathState
	// Direct is where From reached To, if that was directly.
	Direct netip.AddrPort
	// Relay is the region of the relay, or 0. PeerRelay is the address of a node
	// that relays for others, as Tailscale's can; or empty.
	Relay     int
	PeerRelay string
	// Latency is the time to To and back.
	Latency  time.Duration
	Measured time.Time // zero: never
	// Err says in the node's words why it did not ping, or why nobody did.
	Err string
}

// Paths asks nodes how they reach each other, and returns that when they have
// answered, or have not in time: all pairs of nodes that are online and see each
// other, or only those of the nodes with these IDs. It tells of a thousand pairs
// at most. Each node is asked for two pings a second, so that it takes seconds,
// and half a minute in a mesh of that size. When ctx ends before, it returns what
// is known, and its error.
//
// What was found out is kept for a while in this coordinator alone. Nodes that
// are connected to another coordinator are pinged, but not asked.
func (s *Server) Paths(ctx context.Context, of ...int64) ([]Path, error) {
	began := time.Now()
	pairs := s.current.Load().pairs(of)
	renew := time.NewTicker(surveyLease / 3)
	defer renew.Stop()
	for {
		s.surveys.want(time.Now(), pairs)
		done, changed := s.surveys.settled(pairs, began.Add(-surveyEvery), s.asks)
		if done {
			return s.paths(pairs), nil
		}
		select {
		case <-changed:
		case <-renew.C:
		case <-ctx.Done():
			return s.paths(pairs), ctx.Err()
		case <-s.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// pathsNow returns what is known now of the same pairs as Paths, and has more
// found out for those who ask again soon.
func (s *Server) pathsNow(of ...int64) []Path {
	pairs := s.current.Load().pairs(of)
	s.surveys.want(time.Now(), pairs)
	return s.paths(pairs)
}

// pairs returns pairs of nodes that are online and see each other, those of the
// nodes with these IDs or all, as many as there may be.
func (s *snapshot) pairs(of []int64) (pairs []pair) {
	nodes := s.nodes
	if len(of) > 0 {
		nodes = nil
		for _, id := range of {
			nodes = append(nodes, s.find(tailcfg.NodeID(id)))
		}
	}
	seen := make(map[pair]bool)
	for _, n := range nodes {
		if n == nil || !n.online() {
			continue
		}
		v, _ := s.sightOf(n.ID)
		for id := range v.view.Peers() {
			if peer := s.find(id); !v.sees(peer) || !peer.online() || seen[pairOf(n.ID, id)] {
				continue
			}
			if len(pairs) == maxSurveyed {
				return pairs
			}
			seen[pairOf(n.ID, id)] = true
			pairs = append(pairs, pairOf(n.ID, id))
		}
	}
	return pairs
}

// paths returns what is known of pairs whose nodes there still are.
func (s *Server) paths(pairs []pair) []Path {
	now, paths := s.current.Load(), make([]Path, 0, len(pairs))
	for i, f := range s.surveys.findings(pairs) {
		p := pairs[i]
		if f.from == p.b {
			p.a, p.b = p.b, p.a
		}
		if a, b := now.find(p.a), now.find(p.b); a != nil && b != nil {
			paths = append(paths, s.describePath(now, a, b, f))
		}
	}
	return paths
}

func (s *Server) describePath(now *snapshot, from, to *node, f finding) Path {
	p := Path{
		From:      int64(from.ID),
		To:        int64(to.ID),
		FromName:  from.Name + "." + now.domain,
		ToName:    to.Name + "." + now.domain,
		State:     PathUnknown,
		Direct:    f.direct,
		Relay:     f.region,
		PeerRelay: f.peerRelay,
		Latency:   f.latency,
		Measured:  f.at,
		Err:       f.err,
	}
	switch {
	case f.direct.IsValid():
		p.State = PathDirect
	case f.reached():
		p.State = PathRelayed
	case f.from != 0:
		p.State = PathSilent
	case !s.asks(from.ID) && !s.asks(to.ID):
		p.Err = "neither of them is connected to this coordinator"
	}
	return p
}

// surveys is the survey of a server, and whom it concerns.
type surveys struct {
	wake chan struct{} // holds one: somebody wants to know more

	mu      sync.Mutex
	survey  survey
	changed chan struct{} // closed when something was found out
}

func newSurveys() surveys {
	return surveys{wake: make(chan struct{}, 1), survey: newSurvey(), changed: make(chan struct{})}
}

// want has the pairs surveyed for a while.
func (s *surveys) want(now time.Time, pairs []pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.survey.want(now, pairs)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// settled reports whether all was found out about the pairs after the given
// time that can be. If not, the channel is closed when there is something new.
func (s *surveys) settled(pairs []pair, after time.Time, asks func(tailcfg.NodeID) bool) (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range pairs {
		known := s.survey.pairs[p]
		if known != nil && !known.settled(after) && (asks(p.a) || asks(p.b)) {
			return false, s.changed
		}
	}
	return true, nil
}

// findings returns what is known of each of the pairs.
func (s *surveys) findings(pairs []pair) []finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make([]finding, len(pairs))
	for i, p := range pairs {
		if known := s.survey.pairs[p]; known != nil {
			found[i] = known.found
		}
	}
	return found
}

// tell lets those know who wait for something new. The caller holds mu.
func (s *surveys) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// asks reports whether the node can be asked for a ping: it has its stream here.
func (s *Server) asks(id tailcfg.NodeID) bool { return s.streams.of(id) != nil }

// survey asks nodes for pings while somebody wants to know how they reach each
// other, until the server is closed.
func (s *Server) survey() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.surveys.wake:
		case <-timer.C:
		}
		timer.Stop()
		if wait := s.askForPing(); wait > 0 {
			timer.Reset(wait)
		}
	}
}

// askForPing asks the node whose turn it is, and returns when to do so again;
// zero is when somebody wants to know something.
func (s *Server) askForPing() time.Duration {
	s.surveys.mu.Lock()
	defer s.surveys.mu.Unlock()
	now, survey := time.Now(), &s.surveys.survey
	if survey.expire(now) {
		s.surveys.tell()
	}
	a, wait, ok := survey.next(now, s.asks)
	if ok {
		name := rand.Text()
		survey.ask(name, a)
		s.sendAsk(a, name, survey.types(a))
	}
	return wait
}

// sendAsk sends a node the request to ping another. A node that does not get
// it is one that does not answer.
func (s *Server) sendAsk(a asked, name, types string) {
	to := s.current.Load().find(a.to)
	if to == nil {
		return
	}
	url := "https://coordinator/machine/path?node=" + strconv.FormatInt(int64(a.from), 10) + "&ping=" + name
	s.streams.ask(a.from, &tailcfg.PingRequest{URL: url, URLIsNoise: true, Types: types, IP: to.IPv4})
}

// servePath answers POST /machine/path, with which a node tells how a ping went.
func (s *Server) servePath(w http.ResponseWriter, r *http.Request) {
	n := s.nodeOf(r)
	if n == nil {
		http.Error(w, "this machine has no such node", http.StatusNotFound)
		return
	}
	var resp tailcfg.PingResponse
	if !readJSON(w, r, &resp) {
		return
	}
	s.surveys.mu.Lock()
	defer s.surveys.mu.Unlock()
	if s.surveys.survey.answer(time.Now(), r.URL.Query().Get("ping"), n.ID, &resp) {
		s.surveys.tell()
	}
}

// nodeOf returns the node that a request of its machine names, or nil.
func (s *Server) nodeOf(r *http.Request) *node {
	id, err := strconv.ParseInt(r.URL.Query().Get("node"), 10, 64)
	n := s.current.Load().find(tailcfg.NodeID(id))
	if err != nil || n == nil || n.Machine != connOf(r).Peer() {
		return nil
	}
	return n
}
