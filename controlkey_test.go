package meshnet

import (
	"errors"
	"net/url"
	"testing"

	"github.com/meshnet-go/meshnet/key"
)

func TestControlKeyIsRemembered(t *testing.T) {
	store := NewMemoryStore()
	here, elsewhere := &url.URL{Scheme: "http", Host: "here"}, &url.URL{Scheme: "http", Host: "elsewhere"}
	k1, k2 := key.NewMachine().Public(), key.NewMachine().Public()
	for _, step := range []struct {
		why     string
		control *url.URL
		shown   key.MachinePublic
		want    error
	}{
		{"the first key is trusted", here, k1, nil},
		{"the same key is trusted", here, k1, nil},
		{"another key is not", here, k2, ErrControlKeyChanged},
		{"the first key still is", here, k1, nil},
		{"another coordinator has another key", elsewhere, k2, nil},
	} {
		if err := rememberControlKey(store, step.control, step.shown); !errors.Is(err, step.want) {
			t.Errorf("%s: %v", step.why, err)
		}
	}
}
