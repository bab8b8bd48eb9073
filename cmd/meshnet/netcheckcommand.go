package main

import (
	"context"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet"
)

const netcheckHelp = `meshnet netcheck has a node that runs on this machine look at its network: whether
UDP gets through, what its NAT is like, and how far the relays are. It takes a
few seconds.

Usage:

  meshnet netcheck [-state DIR] [-json]

Flags:

FLAGS
`

// A netcheckConfig is the flags of meshnet netcheck.
type netcheckConfig struct{ askConfig }

func (c *netcheckConfig) waitsFor() string { return "answers of STUN servers and relays" }

func (c *netcheckConfig) run(ctx context.Context, w world, _ []string) error {
	found, err := askNode[none, *meshnet.Netcheck](ctx, &c.askConfig, "netcheck", none{})
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(w.stdout, found)
	}
	return printNetcheck(w, found)
}

func printNetcheck(w world, found *meshnet.Netcheck) error {
	mapped := ""
	if found.Mapped.IsValid() {
		mapped = found.Mapped.String()
	}
	nat := map[meshnet.Answer]string{
		meshnet.AnswerYes: "hard: shows every destination another port",
		meshnet.AnswerNo:  "easy, or there is none",
	}[found.HardNAT]
	t := newTable("UDP", string(found.UDP))
	t.add("IPv6", string(found.IPv6))
	t.add("NAT", nat)
	t.add("Seen as", strings.Join(texts(found.Endpoints), ", "))
	t.add("Mapped by the router", mapped)
	t.add("Home relay", found.Home)
	for i, r := range found.Relays {
		title, latency := "", "not measured"
		if i == 0 {
			title = "Relays"
		}
		if r.Latency > 0 {
			latency = r.Latency.Round(100 * time.Microsecond).String()
		}
		t.rows = append(t.rows, []string{title, strings.TrimSpace(latency + "  " + r.Region + "  " + r.Name)})
	}
	return t.print(w.stdout, "")
}
