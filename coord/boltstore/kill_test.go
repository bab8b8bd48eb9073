package boltstore

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/internal/leak"
)

var (
	kills = flag.Int("kills", 12, "how often TestKill kills a coordinator")
	// victim is set in the process that TestKill kills.
	victim = flag.String("victim", "", "serve the database as the victim of TestKill")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *victim != "" {
		beKilled(*victim)
		return
	}
	leak.Main(m)
}

// beKilled changes a coordinator's state from several goroutines, and says on
// standard output what has been acknowledged, until it is killed.
func beKilled(path string) {
	store, err := Open(path)
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	c, err := coord.New(coord.Config{Store: store})
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	var out sync.Mutex
	say := func(what, id string) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(what, id)
	}
	say("serving", c.PublicKey().String())
	for range 8 {
		go func() {
			for {
				text, err := c.CreateAuthKey(context.Background(), coord.AuthKeyOptions{Reusable: true})
				if err != nil {
					say("failed", err.Error())
					return
				}
				id := strings.Split(text, "-")[1]
				say("made", id)
				if rand.IntN(2) == 0 && c.RevokeAuthKey(context.Background(), id) == nil {
					say("revoked", id)
				}
			}
		}()
	}
	select {}
}

// TestKill kills a process in which a coordinator is busy, again and again.
// Everything that it has acknowledged is there the next time.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes")
	}
	path := filepath.Join(t.TempDir(), "coord.db")
	book := acknowledged{revoked: make(map[string]bool)}
	for range *kills {
		book.read(t, run(t, path))
		book.check(t, path)
	}
	t.Logf("%d changes acknowledged before %d kills, and none is lost", book.count, *kills)
}

// run returns what a victim says until it is killed, some moments after it
// began to work.
func run(t *testing.T, path string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-victim", path)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	r := bufio.NewReader(stdout)
	said, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(said, "serving") {
		t.Fatalf("the victim does not serve: %q, %v", said, err)
	}
	timer := time.AfterFunc(time.Duration(20+rand.IntN(300))*time.Millisecond, func() { cmd.Process.Kill() })
	defer timer.Stop()
	rest, _ := io.ReadAll(r)
	return said + string(rest)
}

// acknowledged is what the victims have said.
type acknowledged struct {
	key     string
	revoked map[string]bool // by the ID of an auth key that was made
	count   int
}

func (a *acknowledged) read(t *testing.T, said string) {
	t.Helper()
	for line := range strings.Lines(said) {
		what, id, whole := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch {
		case !whole || !strings.HasSuffix(line, "\n"): // cut off by the kill
		case what == "serving" && a.key == "":
			a.key = id
		case what == "serving" && a.key != id:
			t.Fatalf("the coordinator has another key: %s, it was %s", id, a.key)
		case what == "made":
			a.revoked[id] = false
			a.count++
		case what == "revoked":
			a.revoked[id] = true
			a.count++
		case what == "failed":
			t.Fatal("the victim failed: ", line)
		}
	}
}

func (a *acknowledged) check(t *testing.T, path string) {
	t.Helper()
	store, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c, err := coord.New(coord.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	keys, err := c.AuthKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]coord.AuthKey)
	for _, k := range keys {
		known[k.ID] = k
	}
	for id, revoked := range a.revoked {
		if k, ok := known[id]; !ok || revoked && !k.Revoked {
			t.Fatalf("the auth key %s was made, and revoked: %v; stored is %+v", id, revoked, k)
		}
	}
}
