// Package report keeps what a run of the bench has measured, and shows it: as
// Markdown, as JSON, and in plots.
package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
)

// Report is all that a run has measured. The zero value is ready for use.
type Report struct {
	Machine  Machine
	Versions map[string]string // of what is compared, and what it is made of
	Command  string            // the arguments of the run
	Rounds   int
	Order    []string // of the software in tables
	Series   []*Series
	Failures []Failure
	Paths    []Path
	// Targets are what is to be reached.
	Targets []Target `json:"-"`
}

// Case is what is measured together: a kind of transfer on a kind of link.
type Case struct{ Suite, Name string }

// Series are the values of one figure, of one software, in one case: one of each
// round.
type Series struct {
	Case
	Software string
	Figure   string
	Unit     string
	Values   []float64
}

// Failure is why there are no figures, or not all.
type Failure struct {
	Case
	Software, Reason string
}

// Path is which way packets took, as the nodes' own counters say.
type Path struct {
	Case
	Software, Path string
	Times          int
}

// Add adds the value of a round.
func (r *Report) Add(c Case, software, figure, unit string, value float64) {
	s := r.find(c, software, figure)
	if s == nil {
		s = &Series{Case: c, Software: software, Figure: figure, Unit: unit}
		r.Series = append(r.Series, s)
	}
	s.Values = append(s.Values, value)
}

// find returns a series, or nil.
func (r *Report) find(c Case, software, figure string) *Series {
	for _, s := range r.Series {
		if s.Case == c && s.Software == software && s.Figure == figure {
			return s
		}
	}
	return nil
}

// Median returns the median of a series; false means that there is none.
func (r *Report) Median(c Case, software, figure string) (float64, bool) {
	s := r.find(c, software, figure)
	if s == nil {
		return 0, false
	}
	return s.Median(), true
}

// Fail says that a software did not get through a case.
func (r *Report) Fail(c Case, software string, err error) {
	r.Failures = append(r.Failures, Failure{c, software, err.Error()})
}

// Path counts a path that was taken.
func (r *Report) Path(c Case, software, path string) {
	for i := range r.Paths {
		if p := &r.Paths[i]; p.Case == c && p.Software == software && p.Path == path {
			p.Times++
			return
		}
	}
	r.Paths = append(r.Paths, Path{c, software, path, 1})
}

// Median is that of the values.
func (s *Series) Median() float64 {
	sorted := slices.Sorted(slices.Values(s.Values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// Write writes report.md, report.json and the plots into a directory.
func (r *Report) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "report.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "report.md"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := r.Markdown(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return r.plots(dir)
}
