package netstack

import (
	"bytes"
	"os"
	"testing"

	"gvisor.dev/gvisor/pkg/log"
)

func TestGVisorIsQuietUnlessTheProgramWantsItsLog(t *testing.T) {
	before := log.Log().Emitter
	defer log.SetTarget(before)

	log.SetTarget(log.GoogleEmitter{Writer: &log.Writer{Next: os.Stderr}}) // gVisor's default
	newStack(t)
	if _, quiet := log.Log().Emitter.(discard); !quiet {
		t.Errorf("gVisor logs to %T", log.Log().Emitter)
	}

	var own bytes.Buffer
	log.SetTarget(log.GoogleEmitter{Writer: &log.Writer{Next: &own}})
	newStack(t)
	log.Warningf("hello")
	if !bytes.Contains(own.Bytes(), []byte("hello")) {
		t.Error("the program's own log of gVisor was taken away")
	}
}
