package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// A relayStatus is what a relay does.
type relayStatus struct {
	Key    key.NodePublic
	Since  time.Time
	Region *derpmap.Region // the relay's entry in the DERP map
	Total  derp.Stats
	Now    []derp.ClientStats // those that are connected
}

// serveRelayStatus answers who may look into the relay's directory, until the
// returned function is called.
func serveRelayStatus(dir string, r *relayRun) (stop func(), err error) {
	path := filepath.Join(dir, relaySocket)
	if other, err := dialLocal(context.Background(), path); err == nil {
		other.Close()
		return nil, fmt.Errorf("another relay runs with the directory %s", dir)
	}
	ln, err := listenLocal(path)
	if err != nil {
		return nil, err
	}
	since := time.Now()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(relayStatus{r.relay.PublicKey(), since, r.region, r.relay.Stats(), r.relay.Clients()})
	})
	return serveLocal(ln, mux), nil
}

// A relayStatusConfig is the flags of meshnet relay status.
type relayStatusConfig struct {
	dir  string
	json bool
}

func (c *relayStatusConfig) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.dir, "dir", "", "`DIR` of the relay, as given to meshnet relay; required")
	fs.BoolVar(&c.json, "json", false, "print JSON")
}

func (c *relayStatusConfig) run(ctx context.Context, w world, _ []string) error {
	if c.dir == "" {
		return usagef("-dir is missing: the directory of the relay, as given to meshnet relay -dir")
	}
	conn, err := dialLocal(ctx, filepath.Join(c.dir, relaySocket))
	if errors.Is(err, errNobody) {
		return fmt.Errorf("no relay runs in %s: start one with meshnet relay -dir %[1]s", c.dir)
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	var s relayStatus
	if err := askOver(ctx, conn, "status", none{}, &s); err != nil {
		return err
	}
	if c.json {
		return printJSON(w.stdout, s)
	}
	return s.print(w)
}

func (s *relayStatus) print(w world) error {
	total := newTable("Relay", s.Region.Nodes[0].Name)
	total.add("Region", fmt.Sprintf("%d, %s", s.Region.RegionID, s.Region.RegionName))
	total.add("Key", s.Key.String())
	total.add("Since", showTime(s.Since))
	all := s.Total
	total.add("Clients", fmt.Sprintf("%d, and %d at %d other relays of the region", all.Clients, all.Remote, all.Links))
	total.add("At home here", fmt.Sprint(all.Home))
	total.add("Connections", fmt.Sprintf("%d, and %d refused", all.Connections, all.Refused))
	total.add("Received", showTraffic(all.PacketsIn, all.BytesIn))
	total.add("Sent", showTraffic(all.PacketsOut, all.BytesOut))
	total.add("Lost", fmt.Sprintf("%d packets to nobody, %d to clients that were too slow", all.Unreachable, all.Overflowed))
	if err := total.print(w.stdout, ""); err != nil || len(s.Now) == 0 {
		return err
	}
	fmt.Fprintln(w.stdout)
	t := newTable("CLIENT", "FROM", "SINCE", "RECEIVED", "SENT", "")
	for _, c := range s.Now {
		var marks []string
		if c.Home {
			marks = append(marks, "home")
		}
		if !c.Live {
			marks = append(marks, "older connection")
		}
		t.add(c.Key.String(), c.Addr.String(), showTime(c.Since), showTraffic(c.PacketsIn, c.BytesIn), showTraffic(c.PacketsOut, c.BytesOut), strings.Join(marks, ", "))
	}
	return t.print(w.stdout, "")
}

func showTraffic(packets, bytes uint64) string {
	return fmt.Sprintf("%d packets, %s", packets, showBytes(bytes))
}

// showBytes is for tables.
func showBytes(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/1e3, 0
	for ; size >= 1000 && unit < 3; unit++ {
		size /= 1e3
	}
	return fmt.Sprintf("%.1f %cB", size, "kMGT"[unit])
}
