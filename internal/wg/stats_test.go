package wg

import (
	"reflect"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

func TestParseStats(t *testing.T) {
	a, b := testKey(1), testKey(2)
	text := "private_key=00\nlisten_port=1\nrx_bytes=99\n" +
		"public_key=" + a.Hex() + "\nlast_handshake_time_sec=100\nlast_handshake_time_nsec=5\ntx_bytes=7\nrx_bytes=8\nallowed_ip=10.0.0.1/32\n" +
		"public_key=zz\ntx_bytes=1\n" +
		"public_key=" + b.Hex() + "\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\ntx_bytes=0\nrx_bytes=-1\n\n"
	want := map[key.NodePublic]PeerStats{
		a: {RxBytes: 8, TxBytes: 7, LastHandshake: time.Unix(100, 5)},
		b: {},
	}
	if got := parseStats(text); !reflect.DeepEqual(got, want) {
		t.Errorf("parseStats:\n got %v\nwant %v", got, want)
	}
}

func FuzzParseStats(f *testing.F) {
	f.Add("")
	f.Add("public_key=" + testKey(1).Hex() + "\ntx_bytes=7\nrx_bytes\nlast_handshake_time_nsec=99999999999999999999\n")
	f.Fuzz(func(t *testing.T, text string) { parseStats(text) })
}
