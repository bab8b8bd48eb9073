package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"time"

	"golang.org/x/sys/unix"
)

// everyProgram is what every program can be asked.
var everyProgram = Verbs{
	"usage":   func(json.RawMessage) (any, error) { return Use() },
	"collect": func(json.RawMessage) (any, error) { runtime.GC(); debug.FreeOSMemory(); return nil, nil },
	"profile": Verb(profile),
}

// Usage is what a process has taken of the machine.
type Usage struct {
	CPU        float64 // seconds since its start, user's and system's
	RSS        int64   // bytes resident now
	PeakRSS    int64   // the most that it ever was
	Goroutines int
	Objects    uint64 // allocated since its start
}

// Use returns the usage of this process.
func Use() (Usage, error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return Usage{}, fmt.Errorf("asking what the process has used: %w", err)
	}
	u := Usage{
		CPU:        float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9,
		PeakRSS:    r.Maxrss << 10,
		Goroutines: runtime.NumGoroutine(),
	}
	objects := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(objects)
	u.Objects = objects[0].Value.Uint64()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return Usage{}, err
	}
	var size, resident int64
	if _, err := fmt.Fscan(bytes.NewReader(status), &size, &resident); err != nil {
		return Usage{}, fmt.Errorf("reading statm: %w", err)
	}
	u.RSS = resident * int64(os.Getpagesize())
	return u, nil
}

// Profile says what to do about a CPU profile.
type Profile struct {
	File string // where it goes; empty ends the one that is under way
}

func profile(p Profile) (any, error) {
	if p.File == "" {
		StopProfile()
		return nil, nil
	}
	return nil, StartProfile(p.File)
}

// StartProfile begins a CPU profile, unless the file has no name.
func StartProfile(file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}

// StopProfile ends the CPU profile, if one is under way.
func StopProfile() { pprof.StopCPUProfile() }

// Now is a clock that all processes of the machine share, and that nobody sets.
func Now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // there is one on every Linux
	}
	return time.Duration(t.Nano())
}
