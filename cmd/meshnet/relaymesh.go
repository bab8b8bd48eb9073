package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"sync"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// meshWith keeps a relay connected to the others of its region, until the
// returned function is called. Own has its own entry; others may be nil, and have
// that entry as well.
func meshWith(relay *derp.Server, own, others *derpmap.Region, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	if others == nil {
		others = new(derpmap.Region)
	}
	for _, n := range others.Nodes {
		if n.STUNOnly || n.Name == own.Nodes[0].Name {
			continue
		}
		one := derpmap.Region{RegionID: own.RegionID, Nodes: []*derpmap.Node{n}}
		running.Go(func() {
			if err := relay.Mesh(ctx, derp.DialConfig{Region: &one}); err != nil && ctx.Err() == nil {
				log.Error("not connected to a relay of the region any more", "relay", n.Name, "err", err)
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// A meshKeyConfig is the flags of meshnet relay mesh-key.
type meshKeyConfig struct{ json bool }

func (c *meshKeyConfig) addFlags(fs *flag.FlagSet) {
	fs.BoolVar(&c.json, "json", false, "print JSON")
}

func (c *meshKeyConfig) run(_ context.Context, w world, _ []string) error {
	secret := derp.NewMeshKey().Secret()
	if c.json {
		return printJSON(w.stdout, map[string]string{"Key": secret})
	}
	_, err := fmt.Fprintln(w.stdout, secret)
	return err
}
