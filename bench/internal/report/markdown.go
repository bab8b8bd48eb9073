package report

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// Markdown writes the report for people: the targets first, then a table for
// each suite.
func (r *Report) Markdown(w io.Writer) error {
	var b bytes.Buffer
	r.header(&b)
	r.targets(&b)
	for _, suite := range r.suites() {
		r.table(&b, suite)
	}
	r.footer(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Report) header(b *bytes.Buffer) {
	fmt.Fprintf(b, "# Bench\n\n%s\n\n    go run . %s\n\n", r.Machine, r.Command)
	fmt.Fprintf(b, "Medians of %d rounds, and in brackets the lowest and the highest.\n\n", r.Rounds)
	b.WriteString("| module | version |\n|---|---|\n")
	for _, module := range slices.Sorted(maps.Keys(r.Versions)) {
		fmt.Fprintf(b, "| %s | %s |\n", module, r.Versions[module])
	}
}

// suites are the suites that have figures, in the order in which they ran.
func (r *Report) suites() (all []string) {
	for _, s := range r.Series {
		if !slices.Contains(all, s.Suite) {
			all = append(all, s.Suite)
		}
	}
	return all
}

// row is a line of a table: one figure in one case.
type row struct {
	Case
	figure, unit string
}

func (r *Report) rows(suite string) (all []row) {
	for _, s := range r.Series {
		line := row{s.Case, s.Figure, s.Unit}
		if s.Suite == suite && !slices.Contains(all, line) {
			all = append(all, line)
		}
	}
	return all
}

func (r *Report) table(b *bytes.Buffer, suite string) {
	fmt.Fprintf(b, "\n## %s\n\n| | |", suite)
	for _, software := range r.Order {
		fmt.Fprintf(b, " %s |", software)
	}
	b.WriteString(" meshnet : tsnet |\n|---|---|" + strings.Repeat("---|", len(r.Order)+1) + "\n")
	var last Case
	for _, line := range r.rows(suite) {
		name := line.Name
		if line.Case == last {
			name = ""
		}
		last = line.Case
		fmt.Fprintf(b, "| %s | %s |", name, strings.TrimSuffix(line.figure+", "+line.unit, ", "))
		for _, software := range r.Order {
			fmt.Fprintf(b, " %s |", cell(r.find(line.Case, software, line.figure)))
		}
		fmt.Fprintf(b, " %s |\n", r.ratio(line))
	}
}

// cell is a median with its spread.
func cell(s *Series) string {
	if s == nil {
		return ""
	}
	if len(s.Values) == 1 {
		return number(s.Values[0])
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.Median()), number(slices.Min(s.Values)), number(slices.Max(s.Values)))
}

func (r *Report) ratio(line row) string {
	ours, ok := r.Median(line.Case, "meshnet", line.figure)
	theirs, ok2 := r.Median(line.Case, "tsnet", line.figure)
	if !ok || !ok2 || theirs == 0 {
		return ""
	}
	return number(ours / theirs)
}

// number has three digits, or all before the point.
func number(f float64) string {
	switch size := math.Abs(f); {
	case size >= 100 || size == 0:
		return fmt.Sprintf("%.0f", f)
	case size >= 10:
		return fmt.Sprintf("%.1f", f)
	case size >= 1:
		return fmt.Sprintf("%.2f", f)
	case size >= 0.001:
		return fmt.Sprintf("%.3f", f)
	}
	return fmt.Sprintf("%.2g", f)
}

// footer has the paths and what failed.
func (r *Report) footer(b *bytes.Buffer) {
	if len(r.Paths) > 0 {
		b.WriteString("\n## Paths\n\nHow often packets took which path, as the nodes' own counters say.\n\n| | | paths |\n|---|---|---|\n")
	}
	for _, suite := range r.suites() {
		for _, software := range r.Order {
			if taken := r.taken(suite, software); taken != "" {
				fmt.Fprintf(b, "| %s | %s | %s |\n", suite, software, taken)
			}
		}
	}
	if len(r.Failures) > 0 {
		b.WriteString("\n## What failed\n\n")
	}
	for _, f := range r.Failures {
		reason, _, _ := strings.Cut(f.Reason, "\n")
		fmt.Fprintf(b, "- %s, %s, %s: %s\n", f.Suite, f.Name, f.Software, reason)
	}
}

// taken sums up which paths a software took in a suite.
func (r *Report) taken(suite, software string) string {
	times := make(map[string]int)
	for _, p := range r.Paths {
		if p.Suite == suite && p.Software == software {
			times[p.Path] += p.Times
		}
	}
	var parts []string
	for _, path := range slices.Sorted(maps.Keys(times)) {
		parts = append(parts, fmt.Sprintf("%s %d times", path, times[path]))
	}
	return strings.Join(parts, ", ")
}
