package report

import (
	"bytes"
	"fmt"
)

// A Target is what a figure of meshnet's has to reach.
type Target struct {
	Case   Case
	Figure string
	// Against is the software with whose figure it is compared; Than is in which
	// case, if it is another. When Against is empty the figure itself counts.
	Against string
	Than    Case
	AtLeast float64 // the ratio has to be so high; or, if it is zero:
	AtMost  float64 // so low
}

// met compares a ratio, or a figure, with the target.
func (t Target) met(got float64) bool {
	if t.AtLeast > 0 {
		return got >= t.AtLeast
	}
	return got <= t.AtMost
}

func (t Target) wants() string {
	sign, limit := "≤", t.AtMost
	if t.AtLeast > 0 {
		sign, limit = "≥", t.AtLeast
	}
	if t.Against == "" {
		return fmt.Sprintf("%s %g", sign, limit)
	}
	return fmt.Sprintf("%s %g ×", sign, limit)
}

// targets writes which targets are met, of those that were measured.
func (r *Report) targets(b *bytes.Buffer) {
	head := "\n## Targets\n\n| | | meshnet | against | ratio | target | met |\n|---|---|---|---|---|---|---|\n"
	for _, t := range r.Targets {
		line, ok := r.judge(t)
		if !ok {
			continue
		}
		b.WriteString(head + line)
		head = ""
	}
}

// judge makes the line of a target; false means that it was not measured.
func (r *Report) judge(t Target) (line string, ok bool) {
	ours := r.find(t.Case, "meshnet", t.Figure)
	if ours == nil {
		return "", false
	}
	got, against, ratio := ours.Median(), "", ""
	if t.Against != "" {
		than := t.Than
		if than == (Case{}) {
			than = t.Case
		}
		theirs, ok := r.Median(than, t.Against, t.Figure)
		if !ok || theirs == 0 {
			return "", false
		}
		got /= theirs
		against, ratio = t.Against+": "+number(theirs), number(got)
	}
	met := "**no**"
	if t.met(got) {
		met = "yes"
	}
	return fmt.Sprintf("| %s: %s | %s | %s %s | %s | %s | %s | %s |\n",
		t.Case.Suite, t.Case.Name, t.Figure, number(ours.Median()), ours.Unit, against, ratio, t.wants(), met), true
}
