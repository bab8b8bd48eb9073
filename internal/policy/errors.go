package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Error is one thing that is wrong with a policy file.
type Error struct {
	Line   int // from 1
	Column int // from 1, in characters
	Reason string
}

func (e Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Reason) }

// Errors is all that is wrong with a policy file, or the first hundred things,
// in the order of its lines: an error of [Parse] is one. Text that is no JSON has one error, at the place
// where it stops to be.
type Errors []Error

// Error has a line for each error.
func (e Errors) Error() string {
	var b strings.Builder
	for i, err := range e {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString("policy:")
		b.WriteString(err.Error())
	}
	return b.String()
}

// maxErrors is how many errors are told of one file.
const maxErrors = 100

// complaints collects what is wrong with a file.
type complaints struct {
	data  []byte
	lines []int // where each line begins
	list  []complaint
}

type complaint struct {
	at     int
	reason string
}

func newComplaints(data []byte) *complaints {
	c := &complaints{data: data, lines: []int{0}}
	for i, b := range data {
		if b == '\n' {
			c.lines = append(c.lines, i+1)
		}
	}
	return c
}

// full reports whether enough was found: the rest is not looked at.
func (c *complaints) full() bool { return len(c.list) >= maxErrors }

func (c *complaints) add(at int, format string, args ...any) {
	if c.full() {
		return
	}
	c.list = append(c.list, complaint{at, fmt.Sprintf(format, args...)})
}

// line returns the line, from 1, of the byte at.
func (c *complaints) line(at int) int {
	i, found := slices.BinarySearch(c.lines, at)
	if !found {
		i--
	}
	return i + 1
}

func (c *complaints) err() error {
	if len(c.list) == 0 {
		return nil
	}
	slices.SortStableFunc(c.list, func(a, b complaint) int { return cmp.Compare(a.at, b.at) })
	var errs Errors
	for _, e := range c.list {
		line := c.line(e.at)
		column := 1 + utf8.RuneCount(c.data[c.lines[line-1]:e.at])
		errs = append(errs, Error{line, column, e.reason})
	}
	if c.full() {
		last := errs[len(errs)-1]
		errs = append(errs, Error{last.Line, last.Column, "there may be more errors"})
	}
	return errs
}

// didYouMean returns a hint at the one of names that is most like the wrong
// one, or "".
func didYouMean(wrong string, names []string) string {
	const longest, most = 64, 1000 // it is but a hint
	if len(wrong) > longest {
		return ""
	}
	names = names[:min(len(names), most)]
	best, bestDistance := "", 1+min(len(wrong)-1, max(2, len(wrong)/3))
	for _, name := range names {
		if len(name) > longest {
			continue
		}
		d := distance(strings.ToLower(wrong), strings.ToLower(name))
		if d < bestDistance || d == bestDistance && best != "" && name < best {
			best, bestDistance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance counts the letters to change, add or leave out to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
