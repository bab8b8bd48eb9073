package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/coord/boltstore"
	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// coordinator is the one in the other process.
type coordinator struct {
	Addr     string // of the coordinator
	Memory   string // address that tells of its memory
	Key      string
	AuthKeys []string // one for each group of nodes that see each other
}

// startCoordinator runs this program again, as the coordinator.
func startCoordinator(t *testing.T) *coordinator {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-serve", t.TempDir(), "-nodes", fmt.Sprint(*nodes), "-see", fmt.Sprint(*see))
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := cmd.StdinPipe() // the coordinator ends with it
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the coordinator: %v", err)
		}
	})
	c := new(coordinator)
	if err := json.NewDecoder(stdout).Decode(c); err != nil {
		t.Fatal(err)
	}
	return c
}

// memory is what a process uses, in bytes.
type memory struct {
	InUse    uint64 // of heap and stacks
	Resident uint64
}

func (c *coordinator) memory(t *testing.T) (m memory) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + c.Memory)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// serve is the coordinator, until its standard input ends. It has as many users
// as there are to be groups, and each sees its own nodes alone.
func serve(dir string, groups int) error {
	store, err := boltstore.Open(filepath.Join(dir, "coord.db"))
	if err != nil {
		return err
	}
	defer store.Close()
	s, err := coord.New(coord.Config{
		Store:   store,
		DERPMap: &derpmap.Map{Regions: map[int]*derpmap.Region{900: {RegionID: 900, Nodes: []*derpmap.Node{{Name: "a", RegionID: 900, HostName: "relay.example.com"}}}}},
		Policy:  []byte(`{"acls": [{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]}]}`),
	})
	if err != nil {
		return err
	}
	defer s.Close()
	c := &coordinator{Key: s.PublicKey().String()}
	for i := range groups {
		login := fmt.Sprintf("user%d", i)
		if _, err := s.CreateUser(context.Background(), coord.UserOptions{Login: login}); err != nil {
			return err
		}
		authKey, err := s.CreateAuthKey(context.Background(), coord.AuthKeyOptions{User: login, Reusable: true})
		if err != nil {
			return err
		}
		c.AuthKeys = append(c.AuthKeys, authKey)
	}
	if c.Addr, err = listen(s); err != nil {
		return err
	}
	if c.Memory, err = listen(http.HandlerFunc(serveMemory)); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(c); err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin)
	return nil
}

func listen(h http.Handler) (addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go http.Serve(ln, h)
	return ln.Addr().String(), nil
}

func serveMemory(w http.ResponseWriter, _ *http.Request) {
	runtime.GC()
	runtime.GC() // what the first one found unused in pools
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m := memory{InUse: stats.HeapAlloc + stats.StackInuse}
	status, _ := os.ReadFile("/proc/self/status") // elsewhere it stays zero
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			fmt.Sscan(kib, &m.Resident)
			m.Resident *= 1024
		}
	}
	json.NewEncoder(w).Encode(m)
}
