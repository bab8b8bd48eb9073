package coord

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

const (
	// keepAlive and up to keepAliveJitter more is the longest silence of a
	// stream; nodes give up after 120 seconds.
	keepAlive       = 50 * time.Second
	keepAliveJitter = 9 * time.Second
	// frameTimeout is how long a node may take to read a frame. It is cut off
	// then, and starts anew.
	frameTimeout = 2 * time.Minute
)

// serveMap answers POST /machine/map: a report, one frame, or a stream of them.
func (s *Server) serveMap(w http.ResponseWriter, r *http.Request) {
	var req tailcfg.MapRequest
	if !readJSON(w, r, &req) {
		return
	}
	report := !req.Stream && req.OmitPeers
	machine := connOf(r).Peer()
	self, err := decide(r.Context(), s, func(_ time.Time, st *state) (*node, error) {
		self := st.find(req.NodeKey, machine)
		switch {
		case self == nil:
			return nil, nil
		case report:
			return st.report(self, &req), nil
		default:
			return st.recall(self, &req), nil
		}
	})
	switch {
	case err != nil:
		http.Error(w, "the coordinator could not look up the node", http.StatusServiceUnavailable)
		return
	case self == nil:
		http.Error(w, "this machine has no such node; register it", http.StatusNotFound)
		return
	}
	frames := frameWriter{w: w, rc: http.NewResponseController(w), zstd: req.Compress == "zstd"}
	switch {
	case report:
		return // an empty 200
	case req.Stream:
		s.stream(r.Context(), self.ID, frames)
	default:
		now := s.current.Load()
		if v, ok := now.sightOf(self.ID); ok {
			frames.send(stamped(fullMap(now, v)))
		}
	}
}

// stamped adds the time to a frame.
func stamped(resp *tailcfg.MapResponse) *tailcfg.MapResponse {
	now := time.Now().UTC()
	resp.ControlTime = &now
	return resp
}

// openStream makes the stream of the node that of the context it returns, and
// ends the one before. close must be called.
func (s *Server) openStream(parent context.Context, id tailcfg.NodeID) (ctx context.Context, st *stream, close func(), err error) {
	ctx, cancel := context.WithCancel(parent)
	st = newStream(id, cancel)
	s.streams.add(st)
	close = func() {
		cancel()
		if s.streams.remove(st) {
			s.do(context.WithoutCancel(parent), func(now time.Time, state *state) error {
				if s.streams.of(id) != nil { // it is back already
					return nil
				}
				if st.dead {
					now = now.Add(-offlineAfter) // it had its time
				}
				state.disconnected(now, id)
				return nil
			})
		}
	}
	err = s.do(ctx, func(_ time.Time, state *state) error {
		if s.streams.of(id) == st {
			state.connected(id)
		}
		return nil
	})
	return ctx, st, close, err
}

// stream tells the node all it may know, and then what changes, until ctx is
// done, the node is removed, gives no sign of life or takes no frame.
func (s *Server) stream(ctx context.Context, id tailcfg.NodeID, frames frameWriter) {
	ctx, st, close, err := s.openStream(ctx, id)
	defer close()
	if err != nil {
		return
	}
	now, _ := s.streams.look(st, &s.current)
	resp := st.first(now)
	if resp == nil {
		return
	}
	if err = frames.send(stamped(resp)); err == nil {
		err = s.tell(ctx, st, frames)
	}
	if err != nil {
		s.log.Debug("map stream failed", "node", id, "err", err)
	}
}

// errNoLife ends the stream of a node that does not answer.
var errNoLife = errors.New("the node gives no sign of life")

// tell sends what changes after the first frame. A nil error means that there
// is nothing more to say.
func (s *Server) tell(ctx context.Context, st *stream, frames frameWriter) error {
	silence, probe := time.NewTimer(silenceLimit()), newProbe()
	defer silence.Stop()
	defer probe.timer.Stop()
	probe.follow(nil, st.told.self)
	for there := true; there; {
		var news []*tailcfg.MapResponse
		select {
		case <-ctx.Done():
			return nil
		case <-silence.C:
			news = append(news, &tailcfg.MapResponse{KeepAlive: true})
		case ping := <-st.pongs:
			probe.answer(ping)
		case <-probe.timer.C:
			ask, alive := probe.ask(st.id)
			if !alive {
				st.dead = true
				return errNoLife
			}
			news = append(news, ask)
		case <-st.changed:
			was := st.told.self
			if news, there = s.news(st); there {
				probe.follow(was, st.told.self)
			}
		}
		for _, resp := range news {
			if err := frames.send(resp); err != nil {
				return err
			}
			silence.Reset(silenceLimit())
		}
	}
	return nil
}

// news returns the frames that tell what the node has not been told yet, and
// whether the node is still there.
func (s *Server) news(st *stream) (news []*tailcfg.MapResponse, there bool) {
	resp, there := st.next(s.streams.look(st, &s.current))
	if resp != nil {
		news = append(news, resp)
	}
	for _, p := range s.streams.asked(st) {
		news = append(news, &tailcfg.MapResponse{KeepAlive: true, PingRequest: p})
	}
	return news, there
}

func silenceLimit() time.Duration { return keepAlive + rand.N(keepAliveJitter) }

// frameWriter writes map responses, each as
//
//	u32 LE length | JSON, or a zstd frame of it
type frameWriter struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	zstd bool
}

func (f frameWriter) send(resp *tailcfg.MapResponse) error {
	payload, err := json.Marshal(resp)
	if err != nil {
		return err
	}
	frame := make([]byte, 4, len(payload)+64)
	if f.zstd {
		frame = appendZstd(frame, payload)
	} else {
		frame = append(frame, payload...)
	}
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-4))
	if err := f.rc.SetWriteDeadline(time.Now().Add(frameTimeout)); err != nil {
		return err
	}
	if _, err := f.w.Write(frame); err != nil {
		return err
	}
	return f.rc.Flush()
}
