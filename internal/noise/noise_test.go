package noise

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
	"github.com/meshnet-go/meshnet/key"
)

func TestMain(m *testing.M) { leak.Main(m) }

// pair shakes hands over an in-memory connection. Its halves are closed at the
// end of the test.
func pair(t testing.TB) (client, server *Conn) {
	t.Helper()
	cn, sn := net.Pipe()
	return pairOver(t, cn, sn)
}

func pairOver(t testing.TB, cn, sn net.Conn) (client, server *Conn) {
	t.Helper()
	t.Cleanup(func() { cn.Close(); sn.Close() })
	machine, control := key.NewMachine(), key.NewMachine()
	i, err := Initiate(machine, control.Public(), 119)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		var err error
		server, err = Accept(sn, control, i.Message)
		accepted <- err
	}()
	client, err = i.Finish(cn)
	if err := errors.Join(err, <-accepted); err != nil {
		t.Fatal(err)
	}
	if server.Peer() != machine.Public() || client.Peer() != control.Public() {
		t.Fatal("the peers do not know each other's keys")
	}
	if client.Version() != 119 || server.Version() != 119 {
		t.Fatalf("versions %d and %d, want 119", client.Version(), server.Version())
	}
	return client, server
}

func TestData(t *testing.T) {
	for _, size := range []int{1, maxPlaintext - 1, maxPlaintext, maxPlaintext + 1, 1 << 20} {
		client, server := pair(t)
		for _, way := range []struct{ from, to *Conn }{{client, server}, {server, client}} {
			sent := bytes.Repeat([]byte("meshnet"), size/7+1)[:size]
			go way.from.Write(sent)
			got := make([]byte, size)
			if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes did not arrive as sent (%v)", size, err)
			}
		}
	}
}

func TestEmptyRecordIsSkipped(t *testing.T) {
	client, server := pair(t)
	go func() {
		client.tx.send(client.nc, nil)
		client.Write([]byte("x"))
	}()
	if n, err := server.Read(make([]byte, 8)); n != 1 || err != nil {
		t.Errorf("Read = %d, %v", n, err)
	}
}

func TestBadInitiation(t *testing.T) {
	machine, control := key.NewMachine(), key.NewMachine()
	i, err := Initiate(machine, control.Public(), 119)
	if err != nil {
		t.Fatal(err)
	}
	with := func(at int, b byte) []byte {
		m := bytes.Clone(i.Message)
		m[at] = b
		return m
	}
	lowOrder := bytes.Clone(i.Message)
	clear(lowOrder[5:37])

	for _, tt := range []struct {
		name    string
		message []byte
		control key.MachinePrivate
		want    string
	}{
		{"empty", nil, control, "initiation of 0 bytes"},
		{"truncated", i.Message[:100], control, "initiation of 100 bytes"},
		{"too long", append(bytes.Clone(i.Message), 0), control, "initiation of 102 bytes"},
		{"wrong type", with(2, typeResponse), control, "unexpected message of type 2"},
		{"wrong length", with(4, 95), control, "wrong length"},
		{"another version in the clear", with(1, 120), control, "does not authenticate"},
		{"changed ephemeral key", with(5, ^i.Message[5]), control, "does not authenticate"},
		{"changed machine key", with(40, ^i.Message[40]), control, "does not authenticate"},
		{"changed tag", with(100, ^i.Message[100]), control, "does not authenticate"},
		{"ephemeral key of low order", lowOrder, control, "key is invalid"},
		{"for another server", i.Message, key.NewMachine(), "does not authenticate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cn, sn := net.Pipe()
			defer cn.Close()
			told := make(chan error, 1)
			go func() {
				_, err := readResponse(cn)
				told <- err
			}()
			_, err := Accept(sn, tt.control, tt.message)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Accept: %v, want %q", err, tt.want)
			}
			if err := <-told; err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the client reads: %v, want %q", err, tt.want)
			}
		})
	}
}

func TestInitiateRefusesBadKeys(t *testing.T) {
	if _, err := Initiate(key.NewMachine(), key.MachinePublic{}, 1); err == nil {
		t.Error("a server key of low order is taken")
	}
	if _, err := Initiate(key.MachinePrivate{}, key.NewMachine().Public(), 1); err == nil {
		t.Error("a missing machine key is taken")
	}
}

func TestBadResponse(t *testing.T) {
	control := key.NewMachine()
	i, err := Initiate(key.NewMachine(), control.Public(), 119)
	if err != nil {
		t.Fatal(err)
	}
	_, good, err := accept(nil, control, i.Message)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(good)
	changed[10]++
	lowOrder := bytes.Clone(good)
	clear(lowOrder[3:35])

	for _, tt := range []struct {
		name     string
		response []byte
		want     string
	}{
		{"nothing", nil, "EOF"},
		{"truncated header", good[:2], "unexpected EOF"},
		{"truncated", good[:50], "unexpected EOF"},
		{"wrong type", []byte{typeRecord, 0, 48}, "type 4"},
		{"wrong length", []byte{typeResponse, 0, 49}, "response of 49 bytes"},
		{"changed", changed, "does not authenticate"},
		{"ephemeral key of low order", lowOrder, "key is invalid"},
		{"error", []byte("\x03\x00\x05no\x1b\npe"), `the server refuses it: "no\x1b\np"`},
		{"truncated error", []byte("\x03\xff\xffno"), "unexpected EOF"},
		{"long error", append([]byte{3, 0xff, 0xff}, make([]byte, 1<<16)...), "refuses it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			copied := *i.state
			try := *i
			try.state = &copied
			_, err := try.Finish(&replay{in: bytes.NewReader(tt.response)})
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 4*maxErrorText+200 {
				t.Errorf("Finish: %v, want %q", err, tt.want)
			}
		})
	}

	if _, err := i.Finish(&replay{in: bytes.NewReader(good)}); err != nil {
		t.Errorf("the good response: %v", err)
	}
	if _, err := i.Finish(&replay{in: bytes.NewReader(good)}); err == nil {
		t.Error("Finish works twice, with the same keys")
	}
}

func TestBadRecord(t *testing.T) {
	header := func(n int) []byte { return []byte{typeRecord, byte(n >> 8), byte(n)} }
	for _, tt := range []struct {
		name string
		wire func(a, b []byte) []byte // from two good records
		want string
	}{
		{"replayed", func(a, b []byte) []byte { return append(a, a...) }, "does not authenticate"},
		{"out of order", func(a, b []byte) []byte { return append(b, a...) }, "does not authenticate"},
		{"changed", func(a, b []byte) []byte { a[5] ^= 1; return a }, "does not authenticate"},
		{"truncated", func(a, b []byte) []byte { return a[:len(a)-1] }, "unexpected EOF"},
		{"truncated header", func(a, b []byte) []byte { return a[:2] }, "unexpected EOF"},
		{"wrong type", func(a, b []byte) []byte { a[0] = typeError; return a }, "type 3"},
		{"without a tag", func(a, b []byte) []byte { return append(header(15), a...) }, "record of 18 bytes"},
		{"oversized", func(a, b []byte) []byte { return append(header(4094), make([]byte, 4094)...) }, "record of 4097 bytes"},
		{"nothing", func(a, b []byte) []byte { return nil }, "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tx, rx recordCipher
			tx.aead, rx.aead = partKey{1}.aead(), partKey{1}.aead()
			var records [2][]byte
			for i := range records {
				sealed, err := tx.seal(nil, []byte("hello"))
				if err != nil {
					t.Fatal(err)
				}
				records[i] = append(header(len(sealed)), sealed...)
			}
			nc := &replay{in: bytes.NewReader(tt.wire(records[0], records[1]))}
			c := newConn(nc, key.MachinePublic{}, 0, recordCipher{}, rx)
			_, err := io.Copy(io.Discard, c)
			if tt.want == "EOF" {
				if err != nil {
					t.Errorf("an end between records: %v, want io.EOF", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Read: %v, want %q", err, tt.want)
			}
			if !strings.Contains(tt.want, "EOF") && !nc.closed {
				t.Error("the connection stays open")
			}
			if _, again := c.Read(make([]byte, 1)); again == nil {
				t.Error("the next Read works")
			}
		})
	}
}

func TestReadTimeoutDoesNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t)
		server.SetReadDeadline(time.Now().Add(time.Second))
		record, err := client.tx.cipher.seal([]byte{typeRecord, 0, 5 + tagSize}, []byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		go client.nc.Write(record[:7])
		if _, err := server.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read of a half record: %v, want a timeout", err)
		}
		server.SetReadDeadline(time.Time{})
		go client.nc.Write(record[7:])
		buf := make([]byte, 8)
		if n, err := server.Read(buf); string(buf[:n]) != "hello" {
			t.Errorf("Read of the rest: %q, %v", buf[:n], err)
		}
	})
}

func TestFailedWriteCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t)
		client.SetWriteDeadline(time.Now().Add(time.Second))
		go io.ReadFull(server.nc, make([]byte, 7)) // takes a part of the record
		if n, err := client.Write([]byte("hello")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write = %d, %v, want a timeout", n, err)
		}
		client.SetWriteDeadline(time.Time{})
		if _, err := client.Write([]byte("hello")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the next Write: %v, want the first error", err)
		}
		if _, err := server.nc.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the peer reads: %v, want EOF", err)
		}
	})
}

func TestCloseEndsReadAndWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := pair(t)
		ended := make(chan error, 2)
		go func() { _, err := client.Read(make([]byte, 1)); ended <- err }()
		go func() { _, err := client.Write(make([]byte, 1)); ended <- err }()
		synctest.Wait()
		client.Close()
		for range 2 {
			if err := <-ended; err == nil {
				t.Error("a pending call succeeded")
			}
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
		if err := client.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	client, server := pair(t)
	go io.Copy(server, server) // echo
	const writers, each = 4, 50
	for range writers {
		go func() {
			for range each {
				client.Write(make([]byte, 999))
			}
		}()
	}
	readers := make(chan int, 2)
	done := make(chan struct{})
	for range 2 {
		go func() {
			buf := make([]byte, 512)
			for {
				n, err := client.Read(buf)
				if err != nil {
					return
				}
				select {
				case readers <- n:
				case <-done:
					return
				}
			}
		}()
	}
	for left := writers * each * 999; left > 0; {
		left -= <-readers
	}
	close(done)
	client.Close()
}

func TestRecordsDoNotAllocate(t *testing.T) {
	var tx, rx recordCipher
	tx.aead, rx.aead = partKey{1}.aead(), partKey{1}.aead()
	var wire loop
	c := newConn(&wire, key.MachinePublic{}, 0, tx, rx)
	buf := make([]byte, maxPlaintext)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := c.Write(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a record written and read allocates %v times", n)
	}
}

func FuzzInitiation(f *testing.F) {
	control := key.NewMachine()
	i, err := Initiate(key.NewMachine(), control.Public(), 119)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(i.Message)
	f.Add(i.Message[:50])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, message []byte) {
		_, response, err := accept(nil, control, message)
		if err == nil && (len(response) != responseSize || !bytes.Equal(message, i.Message)) {
			t.Errorf("accepts what nobody initiated: %x", message)
		}
	})
}

func FuzzResponse(f *testing.F) {
	control := key.NewMachine()
	i, err := Initiate(key.NewMachine(), control.Public(), 119)
	if err != nil {
		f.Fatal(err)
	}
	_, good, err := accept(nil, control, i.Message)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("\x03\x00\x04nope"))
	f.Add([]byte("\x03\xff\xffnope"))
	f.Add([]byte{typeResponse, 0, 48})
	f.Fuzz(func(t *testing.T, response []byte) {
		state, try := *i.state, *i
		try.state = &state
		_, err := try.Finish(&replay{in: bytes.NewReader(response)})
		if err == nil && !bytes.HasPrefix(response, good) {
			t.Errorf("accepts what the server did not say: %x", response)
		}
	})
}

func FuzzRecords(f *testing.F) {
	var tx recordCipher
	tx.aead = partKey{1}.aead()
	var good []byte
	for _, text := range []string{"hello", "", "world"} {
		good = appendHeader(good, typeRecord, len(text)+tagSize)
		good, _ = tx.seal(good, []byte(text))
	}
	f.Add(good)
	f.Add(good[:30])
	f.Add([]byte{typeRecord, 0xff, 0xff})
	f.Add([]byte{typeError, 0, 1, 'x'})
	f.Fuzz(func(t *testing.T, wire []byte) {
		var rx recordCipher
		rx.aead = partKey{1}.aead()
		c := newConn(&replay{in: bytes.NewReader(wire)}, key.MachinePublic{}, 0, recordCipher{}, rx)
		got, _ := io.ReadAll(c)
		if !strings.HasPrefix("helloworld", string(got)) {
			t.Errorf("reads %q, which nobody wrote", got)
		}
	})
}

func TestWireFormat(t *testing.T) {
	control := key.NewMachine()
	i, err := Initiate(key.NewMachine(), control.Public(), 0x1234)
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte{0x12, 0x34, 1, 0, 96}; !bytes.HasPrefix(i.Message, want) || len(i.Message) != 101 {
		t.Errorf("initiation is %x, want it to begin with %x", i.Message, want)
	}
	_, response, err := accept(nil, control, i.Message)
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte{2, 0, 48}; !bytes.HasPrefix(response, want) || len(response) != 51 {
		t.Errorf("response is %x, want it to begin with %x", response, want)
	}
	c := recordCipher{aead: partKey{}.aead(), count: 0x0102}
	c.step()
	if n := binary.BigEndian.Uint64(c.nonce[4:]); n != 0x0102 || c.count != 0x0103 {
		t.Errorf("nonce is %x: not big-endian", c.nonce)
	}
}

// replay is a connection on which the peer has said what is in it.
type replay struct {
	net.Conn
	in     io.Reader
	closed bool
}

func (r *replay) Read(p []byte) (int, error) { return r.in.Read(p) }
func (r *replay) Close() error               { r.closed = true; return nil }

// loop is a connection to oneself.
type loop struct {
	net.Conn
	buf bytes.Buffer
}

func (l *loop) Read(p []byte) (int, error)  { return l.buf.Read(p) }
func (l *loop) Write(p []byte) (int, error) { return l.buf.Write(p) }
