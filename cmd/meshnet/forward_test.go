package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
)

func TestParseLocal(t *testing.T) {
	for text, want := range map[string]string{
		"1080":              "127.0.0.1:1080",
		"0":                 "127.0.0.1:0",
		"127.0.0.1:1080":    "127.0.0.1:1080",
		"localhost:1080":    "localhost:1080",
		"[::1]:1080":        "[::1]:1080",
		"[fe80::1%eth0]:80": "[fe80::1%eth0]:80",
		":1080":             ":1080",
		"0.0.0.0:0":         "0.0.0.0:0",

		"":                 "",
		"65536":            "",
		"01":               "",
		"localhost":        "",
		"localhost:":       "",
		"localhost:http":   "",
		"::1:1080":         "",
		"[::1]":            "",
		"a b:80":           "",
		"a/b:80":           "",
		"http://127.0.0.1": "",
		"127.0.0.1:1:2":    "",
	} {
		if got, err := parseLocal(text); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestParseForward(t *testing.T) {
	for text, want := range map[string]forward{
		"127.0.0.1:5432=db:5432":     {"127.0.0.1:5432", "db:5432"},
		"5432=db:5433":               {"127.0.0.1:5432", "db:5433"},
		"5432=db":                    {"127.0.0.1:5432", "db:5432"},
		"5432=db.mesh.example.com":   {"127.0.0.1:5432", "db.mesh.example.com:5432"},
		"5432=[fd7a::1]":             {"127.0.0.1:5432", "[fd7a::1]:5432"},
		"5432=100.64.0.1":            {"127.0.0.1:5432", "100.64.0.1:5432"},
		"[::1]:5432=[fd7a::1]:5433":  {"[::1]:5432", "[fd7a::1]:5433"},
		"0.0.0.0:5432=db:1":          {"0.0.0.0:5432", "db:1"},
		"0=db:5432":                  {"127.0.0.1:0", "db:5432"},
		"":                           {},
		"5432":                       {},
		"=":                          {},
		"5432=":                      {},
		"5432=5433":                  {}, // a port, of whom?
		"5432=:5433":                 {},
		"=db:5432":                   {},
		"0=db":                       {},
		"5432=db:0":                  {},
		"5432=db:":                   {},
		"5432=fd7a::1":               {}, // could be two things
		"5432=db=db":                 {},
		"5432=tcp://db:5432":         {},
		"5432=[::1":                  {},
		"5432=[::1]x":                {},
		"5432=d b:5432":              {},
		"5432=db:5432/tcp":           {},
		"db.mesh.example.com=db:100": {},
	} {
		got, err := parseForward(text)
		if want == (forward{}) {
			if err == nil {
				t.Errorf("%q is taken for %v", text, got)
			}
		} else if got != want || err != nil {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParseExpose(t *testing.T) {
	for text, want := range map[string]forward{
		"80=127.0.0.1:8080":        {"80", "127.0.0.1:8080"},
		"80=8080":                  {"80", "127.0.0.1:8080"},
		"80=:8080":                 {"80", "127.0.0.1:8080"},
		"80=[::1]:8080":            {"80", "[::1]:8080"},
		"80=[::1]":                 {"80", "[::1]:80"},
		"80=printer.lan":           {"80", "printer.lan:80"},
		"80":                       {},
		"0=8080":                   {},
		"http=8080":                {},
		"127.0.0.1:80=8080":        {},
		"80=0":                     {},
		"80=http://127.0.0.1:8080": {},
	} {
		got, err := parseExpose(text)
		if want == (forward{}) {
			if err == nil {
				t.Errorf("%q is taken for %v", text, got)
			}
		} else if got != want || err != nil {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

// FuzzForward holds that what is accepted can be listened on and dialled, and
// means the same when it is written out.
func FuzzForward(f *testing.F) {
	for _, text := range []string{"5432=db", "[::1]:5432=[fd7a::1]:5432", "80=:8080", "80=8080", "=[", "0=a:1", "1=[a]", "1=[::1%x]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := parseForward(text); err == nil {
			again, err := parseForward(got.String())
			if again != got || err != nil {
				t.Errorf("%q is %v, which is %v, %v", text, got, again, err)
			}
			for _, address := range []string{got.listen, got.target} {
				if _, _, err := net.SplitHostPort(address); err != nil {
					t.Errorf("%q is %v: %v", text, got, err)
				}
			}
		}
		if got, err := parseExpose(text); err == nil {
			if again, err := parseExpose(got.String()); again != got || err != nil {
				t.Errorf("%q is %v, which is %v, %v", text, got, again, err)
			}
		}
	})
}

// A target that is away is worth one line, however many clients there are.
func TestForwarderSaysOnceThatTheTargetIsAway(t *testing.T) {
	var said output
	said.changed = make(chan struct{})
	var target net.Conn
	f := newForwarder("db:1", func(context.Context, string, string) (net.Conn, error) {
		if target == nil {
			return nil, errors.New("nobody there")
		}
		return target, nil
	}, slog.New(slog.NewTextHandler(&said, nil)))
	try := func() net.Conn {
		client, server := net.Pipe()
		t.Cleanup(func() { client.Close() })
		go f.group.Run(t.Context(), server, f.carry)
		return client
	}
	for range 3 {
		if _, err := try().Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the client read %v", err)
		}
	}
	var far net.Conn
	target, far = net.Pipe()
	client := try()
	go io.WriteString(client, "a")
	if _, err := far.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	client.Close()
	if err := f.Shutdown(testCtx(t)); err != nil {
		t.Error(err)
	}
	if text := said.String(); strings.Count(text, "WARN") != 1 || strings.Count(text, "INFO") != 1 {
		t.Errorf("the log says:\n%s", text)
	}
}
