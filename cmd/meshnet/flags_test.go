package main

import (
	"flag"
	"io"
	"slices"
	"testing"
	"time"
)

func TestFlagsAndEnvironment(t *testing.T) {
	env := variables{
		"MESHNET_CONTROL":        "https://env.example.com",
		"MESHNET_HOSTNAME":       "of-env",
		"MESHNET_LISTEN":         "127.0.0.1:1, [::1]:1",
		"MESHNET_FORWARD":        "1=a,2=b",
		"MESHNET_PROXY_PASSWORD": "of env",
		"MESHNET_GRACE":          "3s",
	}
	args := []string{"-control", "https://args.example.com", "-forward", "3=c", "-forward", "4=d:5", "-tags", "tag:a, tag:b"}
	parse := func(env variables, args []string) (*proxyConfig, error) {
		c := new(proxyConfig)
		fs := flag.NewFlagSet("meshnet proxy", flag.ContinueOnError)
		c.addFlags(fs)
		w := world{env: env.get, stdout: io.Discard, stderr: io.Discard}
		if _, err := parseFlags(w, fs, args, ""); err != nil {
			return nil, err
		}
		return c, c.check(w)
	}
	c, err := parse(env, args)
	if err != nil {
		t.Fatal(err)
	}
	if c.node.control != "https://args.example.com" || c.node.hostname != "of-env" || c.grace != 3*time.Second ||
		c.password != "of env" || c.user != defaultUser {
		t.Errorf("got %+v", c)
	}
	if want := []string{"127.0.0.1:1", "[::1]:1"}; !slices.Equal(c.listen.values, want) {
		t.Errorf("listens on %q, want %q", c.listen.values, want)
	}
	if want := []forward{{"127.0.0.1:3", "c:3"}, {"127.0.0.1:4", "d:5"}}; !slices.Equal(c.forwards.values, want) {
		t.Errorf("forwards %v, want %v", c.forwards.values, want)
	}
	if want := []string{"tag:a", "tag:b"}; !slices.Equal(c.node.tags.values, want) {
		t.Errorf("tags %q, want %q", c.node.tags.values, want)
	}
	c, err = parse(nil, nil)
	if want := []string{"127.0.0.1:1080"}; err != nil || !slices.Equal(c.listen.values, want) {
		t.Errorf("without flags it listens on %q, %v", c.listen.values, err)
	}
}
