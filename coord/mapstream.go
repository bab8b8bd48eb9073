package coord

import (
	"context"
	"encoding/binary"
	"encoding/json"
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
	var self *node
	s.decide(func(_ time.Time, st *state) {
		self = st.find(req.NodeKey, connOf(r).Peer())
		switch {
		case self == nil:
		case report:
			st.report(self, &req)
		default:
			st.recall(self, &req)
		}
	})
	if self == nil {
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
		if self := now.find(self.ID); self != nil {
			frames.send(fullMap(time.Now().UTC(), now, self))
		}
	}
}

// streamHandle is the one map stream of a node.
type streamHandle struct{ end context.CancelFunc }

// openStream makes the stream of the node that of the context it returns, and
// ends the one before. end must be called.
func (s *Server) openStream(parent context.Context, id tailcfg.NodeID) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancel(parent)
	mine := &streamHandle{cancel}
	s.decide(func(_ time.Time, st *state) {
		if other := s.streams[id]; other != nil {
			other.end()
		}
		s.streams[id] = mine
		st.connected(id)
	})
	return ctx, func() {
		cancel()
		s.decide(func(now time.Time, st *state) {
			if s.streams[id] == mine {
				delete(s.streams, id)
				st.disconnected(now, id)
			}
		})
	}
}

// stream tells the node all it may know, and then what changes, until ctx is
// done, the node is removed or a frame cannot be sent. It always tells the
// difference between what it told last and what is true now: a node that reads
// slowly gets fewer and larger frames, and nobody waits for it.
func (s *Server) stream(ctx context.Context, id tailcfg.NodeID, frames frameWriter) {
	ctx, end := s.openStream(ctx, id)
	defer end()
	told := s.current.Load()
	self := told.find(id)
	if self == nil {
		return
	}
	err := frames.send(fullMap(time.Now().UTC(), told, self))
	silence := time.NewTimer(silenceLimit())
	defer silence.Stop()
	for err == nil {
		var resp *tailcfg.MapResponse
		select {
		case <-ctx.Done():
			return
		case <-silence.C:
			resp = &tailcfg.MapResponse{KeepAlive: true}
		case <-told.stale:
			next := s.current.Load()
			was := self
			if self = next.find(id); self == nil {
				frames.send(farewell(told, was))
				return
			}
			resp, told = delta(told, next, was, self), next
		}
		if resp != nil {
			err = frames.send(resp)
			silence.Reset(silenceLimit())
		}
	}
	s.log.Debug("map stream failed", "node", self.Name, "err", err)
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
