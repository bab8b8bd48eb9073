package relay

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet/derp"
)

func TestNotices(t *testing.T) {
	health := func(text string) derp.Frame { return derp.Frame{Type: derp.FrameHealth, Data: []byte(text)} }
	for _, test := range []struct {
		name   string
		frames []derp.Frame
		want   []string // levels of the lines
	}{
		{"all is well, and always was", []derp.Frame{health("")}, nil},
		{"a problem that is repeated", []derp.Frame{health("flapping"), health("flapping")}, []string{"WARN"}},
		{"a problem that ends", []derp.Frame{health("flapping"), health(""), health("")}, []string{"WARN", "INFO"}},
		{"a restart during a problem", []derp.Frame{health("p"), {Type: derp.FrameRestarting}, health("p")}, []string{"WARN", "INFO"}},
	} {
		if got := levels(test.frames); fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%s: logged at %v, want %v", test.name, got, test.want)
		}
	}
	var many []derp.Frame
	for i := range 1000 {
		many = append(many, health(fmt.Sprint(i)), derp.Frame{Type: derp.FrameRestarting})
	}
	if got := levels(many); len(got) != maxNotices {
		t.Errorf("a relay that talks on gets %d lines, want %d", len(got), maxNotices)
	}
}

// levels returns the level of each line that is logged of the frames.
func levels(frames []derp.Frame) (levels []string) {
	var out bytes.Buffer
	n := notices{log: slog.New(slog.NewTextHandler(&out, nil))}
	for _, f := range frames {
		n.note(f)
	}
	for line := range strings.Lines(out.String()) {
		_, level, _ := strings.Cut(line, "level=")
		levels = append(levels, strings.Fields(level)[0])
	}
	return levels
}
