package wire

import (
	"errors"
	"strings"
	"testing"
)

type config struct{ Greeting string }

func startGreeter(c config) (any, Verbs, func(), error) {
	if c.Greeting == "" {
		return nil, nil, nil, errors.New("nothing to say")
	}
	verbs := Verbs{"greet": Verb(func(name string) (string, error) {
		if name == "" {
			return "", errors.New("whom?")
		}
		return c.Greeting + " " + name, nil
	})}
	return "ready", verbs, func() {}, nil
}

func TestConversation(t *testing.T) {
	in := strings.NewReader(`{"verb":"greet","args":"world"}
{"verb":"greet","args":7}
{"verb":"greet"}
{"verb":"sing"}
{"verb":"usage"}
`)
	var out strings.Builder
	if err := run(in, &out, []string{`{"Greeting":"hello"}`}, startGreeter); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	for i, want := range []string{`{"result":"ready"}`, `{"result":"hello world"}`, `{"error":"json: `, `{"error":"whom?"}`, `{"error":"no such verb`, `{"result":{"CPU":`} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d is %s, want %s…", i, lines[i], want)
		}
	}
}

func TestFailedStartIsTold(t *testing.T) {
	var out strings.Builder
	if err := run(strings.NewReader(""), &out, []string{"{}"}, startGreeter); err == nil {
		t.Error("the program ends without an error")
	}
	if got, want := out.String(), `{"error":"nothing to say"}`+"\n"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}
