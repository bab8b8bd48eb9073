package meshnet

import (
	"strings"
	"testing"
)

func TestConfigErrorsSayWhatToDo(t *testing.T) {
	for _, tt := range []struct {
		why  string
		srv  *Server
		want string // in the error
	}{
		{"no coordinator", &Server{Ephemeral: true}, "Headscale"},
		{"a coordinator that is no URL", &Server{Ephemeral: true, ControlURL: "mesh.example.com"}, "https://host"},
		{"a URL with a path", &Server{Ephemeral: true, ControlURL: "https://a/b"}, "scheme and a host"},
		{"a key of another kind", &Server{Ephemeral: true, ControlURL: "https://a", ControlKey: "nodekey:00"}, "ControlKey"},
		{"nowhere to keep keys", &Server{ControlURL: "https://a"}, "Dir or Store"},
	} {
		err := tt.srv.Start()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v does not mention %q", tt.why, err, tt.want)
		}
		if err := tt.srv.Close(); err != nil {
			t.Errorf("%s: closing: %v", tt.why, err)
		}
	}
}
