package report

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// colours are the bars', of each software in the order of the report.
var colours = []string{"#1f6feb", "#f08c2e", "#3aa655", "#9467bd", "#888888"}

// plots writes a plot for each suite: for each figure and case a group of bars,
// whose lengths are comparable within the group.
func (r *Report) plots(dir string) error {
	for _, suite := range r.suites() {
		if err := os.WriteFile(filepath.Join(dir, suite+".svg"), r.plot(suite), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// The measures of a plot, in pixels.
const (
	plotWidth  = 760
	barsAt     = 330 // where bars begin
	barsLength = 290
	barHeight  = 14
	groupGap   = 14
	titleSpace = 44
)

func (r *Report) plot(suite string) []byte {
	var body bytes.Buffer
	y := titleSpace
	for _, line := range r.rows(suite) {
		y = r.group(&body, line, y)
	}
	var svg bytes.Buffer
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="11">`+"\n", plotWidth, y)
	fmt.Fprintf(&svg, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, y)
	fmt.Fprintf(&svg, `<text x="10" y="20" font-size="15" font-weight="bold">%s</text>`+"\n", html.EscapeString(suite))
	fmt.Fprintf(&svg, `<text x="10" y="35" fill="#555">medians of %d rounds; the thin line is from the lowest to the highest</text>`+"\n", r.Rounds)
	svg.Write(body.Bytes())
	svg.WriteString("</svg>\n")
	return svg.Bytes()
}

// group draws the bars of one figure in one case, and returns where the next
// begins.
func (r *Report) group(b *bytes.Buffer, line row, y int) int {
	y += groupGap
	longest := 0.0
	for _, software := range r.Order {
		if s := r.find(line.Case, software, line.figure); s != nil {
			longest = max(longest, slices.Max(s.Values))
		}
	}
	if longest <= 0 {
		longest = 1
	}
	label := strings.TrimSuffix(line.figure+", "+line.unit, ", ")
	fmt.Fprintf(b, `<text x="10" y="%d">%s</text>`+"\n", y+11, html.EscapeString(line.Name))
	fmt.Fprintf(b, `<text x="10" y="%d" fill="#555">%s</text>`+"\n", y+25, html.EscapeString(label))
	top := y
	for i, software := range r.Order {
		s := r.find(line.Case, software, line.figure)
		if s == nil {
			continue
		}
		bar(b, y, colours[i%len(colours)], software, s, barsLength/longest)
		y += barHeight + 2
	}
	return max(y, top+2*barHeight)
}

// bar draws one.
func bar(b *bytes.Buffer, y int, colour, software string, s *Series, scale float64) {
	x := func(value float64) float64 { return barsAt + max(0, value)*scale }
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, barsAt-6, y+11, html.EscapeString(software))
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, barsAt, y, x(s.Median())-barsAt, barHeight, colour)
	fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%[3]d" stroke="black"/>`, x(slices.Min(s.Values)), x(slices.Max(s.Values)), y+barHeight/2)
	fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", x(slices.Max(s.Values))+6, y+11, number(s.Median()))
}
