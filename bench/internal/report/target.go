package report

import (
	"bytes"
	"fmt"
)

// A Target is what a figure of meshnet's has to reach, against that of another
// software in the same case.
type Target struct {
	What    string
	Case    Case
	Figure  string
	Against string  // "tsnet" or "kernel"
	AtLeast float64 // the ratio has to be so high; or, if it is zero:
	AtMost  float64 // so low
}

// met compares a ratio with the target.
func (t Target) met(ratio float64) bool {
	if t.AtLeast > 0 {
		return ratio >= t.AtLeast
	}
	return ratio <= t.AtMost
}

func (t Target) wants() string {
	if t.AtLeast > 0 {
		return fmt.Sprintf("≥ %g ×", t.AtLeast)
	}
	return fmt.Sprintf("≤ %g ×", t.AtMost)
}

// targets writes which targets are met, of those that were measured.
func (r *Report) targets(b *bytes.Buffer) {
	head := "\n## Targets\n\n| | meshnet | against | ratio | target | met |\n|---|---|---|---|---|---|\n"
	for _, t := range r.Targets {
		ours, ok := r.Median(t.Case, "meshnet", t.Figure)
		theirs, ok2 := r.Median(t.Case, t.Against, t.Figure)
		if !ok || !ok2 || theirs == 0 {
			continue
		}
		b.WriteString(head)
		head = ""
		met := "**no**"
		if t.met(ours / theirs) {
			met = "yes"
		}
		unit := r.find(t.Case, "meshnet", t.Figure).Unit
		fmt.Fprintf(b, "| %s | %s %s | %s: %s | %s | %s | %s |\n",
			t.What, number(ours), unit, t.Against, number(theirs), number(ours/theirs), t.wants(), met)
	}
}
