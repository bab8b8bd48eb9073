package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// example is a report with something of everything.
func example() *Report {
	direct, relayed := Case{"speed", "direct <1>"}, Case{"speed", "relayed"}
	r := &Report{Rounds: 3, Order: []string{"meshnet", "tsnet", "kernel"}}
	r.Targets = []Target{
		{Case: direct, Figure: "rate", Against: "tsnet", AtLeast: 2},
		{Case: direct, Figure: "rate", Against: "kernel", AtLeast: 0.9},
		{Case: direct, Figure: "rate", AtMost: 5},
		{Case: direct, Figure: "rate", Against: "meshnet", Than: relayed, AtMost: 1},
		{Case: relayed, Figure: "rate", Against: "tsnet", AtLeast: 2}, // of tsnet there is none
	}
	for _, v := range []float64{4, 3, 200} {
		r.Add(direct, "meshnet", "rate", "Gbit/s", v)
	}
	r.Add(direct, "tsnet", "rate", "Gbit/s", 1)
	r.Add(direct, "kernel", "rate", "Gbit/s", 16)
	r.Add(relayed, "meshnet", "rate", "Gbit/s", 2)
	r.Path(direct, "meshnet", "direct")
	r.Path(direct, "meshnet", "direct")
	r.Path(direct, "meshnet", "mixed")
	r.Fail(relayed, "tsnet", errors.New("no relay\nand more"))
	return r
}

func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := example().Markdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| speed: direct <1> | rate | 4.00 Gbit/s | tsnet: 1.00 | 4.00 | ≥ 2 × | yes |\n",
		"| speed: direct <1> | rate | 4.00 Gbit/s | kernel: 16.0 | 0.250 | ≥ 0.9 × | **no** |\n",
		"| speed: direct <1> | rate | 4.00 Gbit/s |  |  | ≤ 5 | yes |\n",
		"| speed: direct <1> | rate | 4.00 Gbit/s | meshnet: 2.00 | 2.00 | ≤ 1 × | **no** |\n",
		"| direct <1> | rate, Gbit/s | 4.00 (3.00–200) | 1.00 | 16.0 | 4.00 |\n",
		"| relayed | rate, Gbit/s | 2.00 |  |  |  |\n",
		"| speed | meshnet | direct 2 times, mixed 1 times |\n",
		"- speed, relayed, tsnet: no relay\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no line %s", want)
		}
	}
	if t.Failed() {
		t.Logf("the report:\n%s", &b)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if err := example().Write(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(text, &got); err != nil || len(got.Series) != len(example().Series) {
		t.Errorf("from JSON come %d series (%v), want %d", len(got.Series), err, len(example().Series))
	}
	plot, err := os.Open(filepath.Join(dir, "speed.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer plot.Close()
	for d := xml.NewDecoder(plot); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
}

func TestMedianOfAnEvenNumber(t *testing.T) {
	if got := (&Series{Values: []float64{9, 1, 2, 4}}).Median(); got != 3 {
		t.Errorf("the median is %v, want 3", got)
	}
}
