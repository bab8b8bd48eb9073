package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"tailscale.com/control/controlbase"
	tskey "tailscale.com/types/key"

	"github.com/meshnet-go/meshnet/internal/noise"
	"github.com/meshnet-go/meshnet/key"
)

const noiseVersion = 119

func TestCodecNoiseOurClientTheirServer(t *testing.T) {
	machine := key.NewMachine()
	_, control := theirMachine(t)
	clientEnd, serverEnd := net.Pipe()

	served := make(chan *controlbase.Conn, 1)
	go func() {
		conn, err := controlbase.Server(within(t, 10*time.Second), serverEnd, control, nil)
		if err != nil {
			t.Errorf("their server: %v", err)
			serverEnd.Close()
		}
		served <- conn
	}()
	initiation, err := noise.Initiate(machine, ourMachinePublic(control.Public()), noiseVersion)
	check(t, "we initiate", err)
	_, err = clientEnd.Write(initiation.Message)
	check(t, "the initiation is sent", err)
	client, err := initiation.Finish(clientEnd)
	check(t, "we finish the handshake", err)
	server := <-served
	if server == nil {
		t.Fatal("their server did not finish")
	}
	equal(t, "the client, seen by their server", ourMachinePublic(server.Peer()), machine.Public())
	equal(t, "the version, seen by their server", server.ProtocolVersion(), noiseVersion)
	carryBothWays(t, client, server)
}

func TestCodecNoiseTheirClientOurServer(t *testing.T) {
	machine, control := tskey.NewMachine(), key.NewMachine()
	message, finish, err := controlbase.ClientDeferred(machine, theirMachinePublic(t, control.Public()), noiseVersion)
	check(t, "they initiate", err)
	clientEnd, serverEnd := net.Pipe()

	finished := make(chan net.Conn, 1)
	go func() {
		conn, err := finish(within(t, 10*time.Second), clientEnd)
		if err != nil {
			t.Errorf("their client: %v", err)
		}
		finished <- conn
	}()
	server, err := noise.Accept(serverEnd, control, message)
	check(t, "we accept", err)
	equal(t, "the client, seen by our server", server.Peer(), ourMachinePublic(machine.Public()))
	equal(t, "the version, seen by our server", server.Version(), uint16(noiseVersion))
	carryBothWays(t, <-finished, server)
}

func TestCodecNoiseAWrongServerKeyIsRefusedByBoth(t *testing.T) {
	wrong := key.NewMachine().Public()
	initiation, err := noise.Initiate(key.NewMachine(), wrong, noiseVersion)
	check(t, "we initiate", err)
	clientEnd, serverEnd := net.Pipe()
	_, control := theirMachine(t)
	refused := make(chan error, 1)
	go func() {
		_, err := controlbase.Server(within(t, 10*time.Second), serverEnd, control, initiation.Message)
		serverEnd.Close()
		refused <- err
	}()
	if _, err := initiation.Finish(clientEnd); err == nil {
		t.Error("we finished a handshake with a server of another key")
	}
	if err := <-refused; err == nil {
		t.Error("their server accepted a client who meant another")
	}

	message, finish, err := controlbase.ClientDeferred(tskey.NewMachine(), theirMachinePublic(t, wrong), noiseVersion)
	check(t, "they initiate", err)
	clientEnd, serverEnd = net.Pipe()
	go func() {
		_, err := finish(within(t, 10*time.Second), clientEnd)
		refused <- err
	}()
	if _, err := noise.Accept(serverEnd, key.NewMachine(), message); err == nil {
		t.Error("we accepted a client who meant another")
	}
	serverEnd.Close()
	if err := <-refused; err == nil {
		t.Error("their client finished a handshake with a server of another key")
	}
}

// FuzzNoiseInitiation: no message that their server refuses is accepted by
// ours, and the other way round.
func FuzzNoiseInitiation(f *testing.F) {
	ours, theirs := key.NewMachine(), tskey.NewMachine()
	if err := theirs.UnmarshalText([]byte(ours.Secret())); err != nil {
		f.Fatal(err)
	}
	initiation, err := noise.Initiate(key.NewMachine(), ours.Public(), noiseVersion)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(initiation.Message, 0, byte(0))
	f.Add(initiation.Message, 1, byte(1)) // another version
	f.Add(initiation.Message, 50, byte(1))
	f.Add(initiation.Message[:100], 0, byte(0))
	f.Add([]byte{}, 0, byte(0))
	f.Fuzz(func(t *testing.T, message []byte, at int, flip byte) {
		message = flipped(message, at, flip)
		if len(message) == 0 {
			return // to their server this means to read one itself
		}
		_, ourErr := noise.Accept(sink{}, ours, message)
		_, theirErr := controlbase.Server(context.Background(), sink{}, theirs, message)
		if (ourErr == nil) != (theirErr == nil) {
			t.Fatalf("our error is %v, theirs %v", ourErr, theirErr)
		}
	})
}

// flipped returns a copy of b with bits of one byte turned over.
func flipped(b []byte, at int, bits byte) []byte {
	b = slices.Clone(b)
	if 0 <= at && at < len(b) {
		b[at] ^= bits
	}
	return b
}

// carryBothWays sends what does not fit into one record in both directions.
func carryBothWays(t *testing.T, client, server net.Conn) {
	t.Helper()
	t.Cleanup(func() { client.Close(); server.Close() })
	for round := range 3 {
		text := fmt.Sprintf("%d%10000d", round, round)
		oneWay(t, client, server, text)
		oneWay(t, server, client, text)
	}
}

func oneWay(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(from, text)
		sent <- err
	}()
	got := make([]byte, len(text))
	_, err := io.ReadFull(to, got)
	check(t, fmt.Sprintf("%T reads what %T wrote", to, from), err)
	check(t, fmt.Sprintf("%T writes", from), <-sent)
	equal(t, "the text", string(got), text)
}

// theirMachine makes a machine key of ours, and the same key as one of theirs.
func theirMachine(t *testing.T) (key.MachinePrivate, tskey.MachinePrivate) {
	t.Helper()
	ours := key.NewMachine()
	var theirs tskey.MachinePrivate
	check(t, "they read our machine key", theirs.UnmarshalText([]byte(ours.Secret())))
	return ours, theirs
}

func ourMachinePublic(k tskey.MachinePublic) key.MachinePublic {
	return key.MachinePublicFromRaw32([32]byte(k.UntypedBytes()))
}

func theirMachinePublic(t *testing.T, k key.MachinePublic) (theirs tskey.MachinePublic) {
	t.Helper()
	check(t, "they read our public machine key", theirs.UnmarshalText([]byte(k.String())))
	return theirs
}

// sink is a connection that takes everything and has nothing to say.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error)      { return len(p), nil }
func (sink) Read([]byte) (int, error)         { return 0, io.EOF }
func (sink) Close() error                     { return nil }
func (sink) SetDeadline(time.Time) error      { return nil }
func (sink) SetReadDeadline(time.Time) error  { return nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }
func (sink) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (sink) LocalAddr() net.Addr              { return &net.TCPAddr{} }
