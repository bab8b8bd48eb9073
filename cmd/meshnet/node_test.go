package main

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/meshnet-go/meshnet"
)

func TestSecretsFromFiles(t *testing.T) {
	file := t.TempDir() + "/secret"
	if err := os.WriteFile(file, []byte(" of the file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := world{env: variables{"NAME": "of the variable"}.get, stdout: io.Discard, stderr: io.Discard}
	if got, err := secret(w, file, "flag", "NAME"); got != " of the file" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := secret(w, "", "flag", "NAME"); got != "of the variable" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestStateIsOneNodesAlone(t *testing.T) {
	configs := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", configs)
	t.Setenv("HOME", configs)
	t.Setenv("AppData", configs)
	w := world{env: variables{}.get, stdout: io.Discard, stderr: io.Discard}
	for _, tt := range []struct {
		config nodeConfig
		want   string // end of the directory
	}{
		{nodeConfig{hostname: "a"}, "/meshnet/a"},
		{nodeConfig{hostname: "a", state: "/b"}, "/b"},
		{nodeConfig{hostname: "a", ephemeral: true}, ""},
		{nodeConfig{hostname: "a", state: "/b", ephemeral: true}, "/b"},
	} {
		tt.config.control = "https://mesh.example.com"
		srv, err := tt.config.server(w, nil)
		if err != nil {
			t.Fatal(err)
		}
		if dir := strings.ReplaceAll(srv.Dir, `\`, "/"); !strings.HasSuffix(dir, tt.want) || (dir == "") != (tt.want == "") {
			t.Errorf("%+v: the state is in %q, want %q", tt.config, dir, tt.want)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	c := &nodeConfig{control: "https://mesh.example.com", state: "/state"}
	other := errors.New("other")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&meshnet.RefusedError{Reason: "key used up"}, "key used up; if it is about the auth key, give a new one"},
		{&meshnet.RefusedError{Reason: "key used up", Expired: true}, "give a new auth key"},
		{&meshnet.NeedsLoginError{URL: "https://login"}, "sign in at https://login"},
		{meshnet.ErrControlKeyChanged, "remove /state/control.key"},
		{meshnet.ErrTailnetLock, "-allow-unsigned-peers"},
		{other, "other"},
	} {
		if got := c.explain(tt.err).Error(); !strings.Contains(got, tt.want) {
			t.Errorf("%v: %q does not say %q", tt.err, got, tt.want)
		}
	}
}
