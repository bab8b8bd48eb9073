package socks5

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// unhex reads hex digits; spaces are for the reader.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The messages of a handshake, each with its size function.
var messages = []struct {
	name string
	size sizeFunc
	hex  string
}{
	{"greeting with one method", greetingSize, "05 01 00"},
	{"greeting with three methods", greetingSize, "05 03 00 01 02"},
	{"greeting without methods", greetingSize, "05 00"},
	{"login", loginSize, "01 03 616e6e 06 736563726574"},
	{"login with an empty password", loginSize, "01 03 616e6e 00"},
	{"login with nothing", loginSize, "01 00 00"},
	{"request for IPv4", requestSize, "05 01 00 01 64400001 0050"},
	{"request for IPv6", requestSize, "05 02 00 04 fd7a000000000000 0000000000000001 01bb"},
	{"request for a name", requestSize, "05 03 00 03 07 64622e6d657368 1538"},
}

func TestMessagesAreReadToTheirLastByte(t *testing.T) {
	for _, m := range messages {
		b := unhex(t, m.hex)
		const after = "what the client sends next"
		for name, r := range map[string]io.Reader{
			"at once":      strings.NewReader(string(b) + after),
			"byte by byte": iotest.OneByteReader(strings.NewReader(string(b) + after)),
		} {
			got, err := readMessage(r, make([]byte, maxMessage), m.size)
			if err != nil || !bytes.Equal(got, b) {
				t.Errorf("%s, %s: read %x, %v; want %x", m.name, name, got, err, b)
			}
			if rest, _ := io.ReadAll(r); string(rest) != after {
				t.Errorf("%s, %s: left %q", m.name, name, rest)
			}
		}
	}
}

func TestMessagesCutAtEveryByte(t *testing.T) {
	for _, m := range messages {
		b := unhex(t, m.hex)
		for n := range b {
			want := io.ErrUnexpectedEOF
			if n == 0 {
				want = io.EOF
			}
			if got, err := readMessage(bytes.NewReader(b[:n]), make([]byte, maxMessage), m.size); err != want {
				t.Errorf("%s, cut after %d bytes: read %x, %v", m.name, n, got, err)
			}
			if err := complete(b[:n], m.size); err != io.ErrUnexpectedEOF {
				t.Errorf("%s, cut after %d bytes: %v", m.name, n, err)
			}
		}
		if complete(append(b, 0), m.size) == nil {
			t.Errorf("%s: a byte too many is taken", m.name)
		}
	}
}

func TestParsedMessages(t *testing.T) {
	methods, err := parseGreeting(unhex(t, "05 03 00 01 02"))
	if err != nil || !bytes.Equal(methods, []byte{0, 1, 2}) {
		t.Errorf("methods %x, %v", methods, err)
	}
	user, password, err := parseLogin(unhex(t, "01 03 616e6e 06 736563726574"))
	if err != nil || user != "ann" || password != "secret" {
		t.Errorf("login %q %q, %v", user, password, err)
	}
	for _, test := range []struct {
		hex     string
		command Command
		host    string
		port    uint16
	}{
		{"05 01 00 01 64400001 0050", Connect, "100.64.0.1", 80},
		{"05 02 00 04 fd7a000000000000 0000000000000001 01bb", Bind, "fd7a::1", 443},
		{"05 01 00 04 0000000000000000 0000ffff0a000001 0050", Connect, "10.0.0.1", 80},
		{"05 03 00 03 07 64622e4d657368 1538", Associate, "db.Mesh", 5432},
		{"05 09 ff 03 01 78 0000", 9, "x", 0},
	} {
		command, dst, err := parseRequest(unhex(t, test.hex))
		if err != nil || command != test.command || dst.host() != test.host || dst.port != test.port {
			t.Errorf("request %s: %v %s %d, %v", test.hex, command, dst.host(), dst.port, err)
		}
	}
}

func TestRefusedMessages(t *testing.T) {
	for _, test := range []struct {
		name string
		size sizeFunc
		hex  string
		want string
	}{
		{"SOCKS4", greetingSize, "04 01", "SOCKS4"},
		{"HTTP", greetingSize, "47 45", "HTTP"},
		{"TLS", greetingSize, "16 03", "TLS"},
		{"garbage", greetingSize, "00 00", "0x00"},
		{"login of another version", loginSize, "05 00", "version 5"},
		{"request of another version", requestSize, "04 01 00 01 7f", "version 4"},
		{"address of an unknown type", requestSize, "05 01 00 02 00", errAddressType.Error()},
	} {
		if _, err := readMessage(bytes.NewReader(unhex(t, test.hex)), make([]byte, maxMessage), test.size); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"db":                     true,
		"db.mesh.example.com.":   true,
		"fd7a::1":                true,
		"bücher.example":         true,
		strings.Repeat("x", 255): true,
		"":                       false,
		"a\x00b":                 false,
		"a\nb":                   false,
		"a b":                    false,
		"a\x7f":                  false,
		"x]:22,[y":               false,
	} {
		if _, err := parseAddress(wireName(name, 80)); (err == nil) != want {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestDatagrams(t *testing.T) {
	good := unhex(t, "0000 00 03 02 6462 0035 71")
	target, data, err := parseDatagram(good)
	if err != nil || !bytes.Equal(target, wireName("db", 53)) || string(data) != "q" {
		t.Errorf("datagram for %x with %q, %v", target, data, err)
	}
	if _, data, err := parseDatagram(good[:len(good)-1]); err != nil || len(data) != 0 {
		t.Errorf("empty datagram: %q, %v", data, err)
	}
	for n := range len(good) - 1 {
		if _, _, err := parseDatagram(good[:n]); err != io.ErrUnexpectedEOF {
			t.Errorf("datagram cut after %d bytes: %v", n, err)
		}
	}
	if _, _, err := parseDatagram(unhex(t, "0000 01 01 64400001 0035 71")); err != errFragment {
		t.Errorf("fragment: %v", err)
	}
	if _, _, err := parseDatagram(unhex(t, "0000 00 05 64400001 0035 71")); err != errAddressType {
		t.Errorf("unknown address type: %v", err)
	}
}

func TestReplyBytes(t *testing.T) {
	for _, test := range []struct {
		code  replyCode
		bound string
		want  string
	}{
		{succeeded, "100.64.0.1:80", "05 00 00 01 64400001 0050"},
		{succeeded, "[fd7a::1]:443", "05 00 00 04 fd7a000000000000 0000000000000001 01bb"},
		{succeeded, "[::ffff:10.0.0.1]:1", "05 00 00 01 0a000001 0001"},
		{succeeded, "[fe80::1%eth0]:1", "05 00 00 04 fe80000000000000 0000000000000001 0001"},
	} {
		if got := appendReply(nil, test.code, netip.MustParseAddrPort(test.bound)); !bytes.Equal(got, unhex(t, test.want)) {
			t.Errorf("reply with %s: %x", test.bound, got)
		}
	}
	if got := appendReply(nil, generalFailure, netip.AddrPort{}); !bytes.Equal(got, unhex(t, "05 01 00 01 00000000 0000")) {
		t.Errorf("reply without an address: %x", got)
	}
}

func fuzzSeeds(f *testing.F) {
	for _, m := range messages {
		f.Add(unhex(f, m.hex))
	}
}

// checkSize holds what readMessage relies on: a size function never asks for
// fewer bytes than there are, nor for more than the buffer has.
func checkSize(t *testing.T, b []byte, size sizeFunc) {
	have := 0
	for {
		want, err := size(b[:have])
		if err != nil || want == have {
			return
		}
		if want < have || want > maxMessage {
			t.Fatalf("after %d bytes it wants %d", have, want)
		}
		if have = want; have > len(b) {
			return
		}
	}
}

func FuzzGreeting(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		checkSize(t, b, greetingSize)
		methods, err := parseGreeting(b)
		if err != nil {
			return
		}
		if again := append([]byte{version, byte(len(methods))}, methods...); !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

func FuzzLogin(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		checkSize(t, b, loginSize)
		user, password, err := parseLogin(b)
		if err == nil && !bytes.Equal(login(user, password), b) {
			t.Errorf("%x became %q, %q", b, user, password)
		}
	})
}

func FuzzRequest(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		checkSize(t, b, requestSize)
		command, dst, err := parseRequest(b)
		if err != nil {
			return
		}
		again, dst2, err := parseRequest(request(command, dst.host(), dst.port))
		if err != nil || again != command || dst2.host() != dst.host() || dst2.port != dst.port {
			t.Errorf("%x became %v %+v, then %v %+v, %v", b, command, dst, again, dst2, err)
		}
	})
}

func FuzzAddress(f *testing.F) {
	f.Add(wire(dns1))
	f.Add(wire(dns2))
	f.Add(wireName("db.mesh", 53))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAddress(b)
		switch {
		case err != nil:
		case !a.ip.IsValid():
			if !bytes.Equal(wireName(a.name, a.port), b) {
				t.Errorf("%x became %q %d", b, a.name, a.port)
			}
		default:
			again, err := parseAddress(wire(netip.AddrPortFrom(a.ip, a.port)))
			if err != nil || again != a {
				t.Errorf("%x became %v, then %v, %v", b, a, again, err)
			}
		}
	})
}

func FuzzDatagram(f *testing.F) {
	f.Add(unhex(f, "0000 00 03 02 6462 0035 71"))
	f.Add(append(appendHeader(nil, dns1), "question"...))
	f.Add(append(appendHeader(nil, dns2), "question"...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		target, data, err := parseDatagram(b)
		if err == nil && !bytes.Equal(append(target, data...), b[3:]) {
			t.Errorf("%x became %x and %x", b, target, data)
		}
		if err == nil && complete(target, addressSize) != nil {
			t.Errorf("%x has the target %x", b, target)
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errFragment) && !errors.Is(err, errAddressType) {
			t.Errorf("%x: %v", b, err)
		}
	})
}

// A rule for an address must hold however a client spells it.
func TestAddressesSentAsNames(t *testing.T) {
	for name, want := range map[string]string{
		"127.0.0.1":             "127.0.0.1",
		"::ffff:127.0.0.1":      "127.0.0.1",
		"0:0:0:0:0:ffff:7f00:1": "127.0.0.1",
		"0:0::1":                "::1",
		"localhost":             "localhost",
	} {
		b := append([]byte{typeName, byte(len(name))}, name...)
		if got, err := parseAddress(append(b, 0, 80)); err != nil || got.host() != want {
			t.Errorf("%s: %s, %v", name, got.host(), err)
		}
	}
}
