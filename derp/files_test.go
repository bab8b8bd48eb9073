package derp

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.key")
	k, err := KeyFile(path)
	if err != nil || k.IsZero() {
		t.Fatalf("a new key: %v", err)
	}
	if again, err := KeyFile(path); err != nil || again != k {
		t.Errorf("the key after a restart: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	theirs := key.NewNode()
	os.WriteFile(path, []byte(`{"PrivateKey":"`+theirs.Secret()+`"}`), 0o600)
	if k, err := KeyFile(path); err != nil || k != theirs {
		t.Errorf("the key of derper: %v", err)
	}
	for _, text := range []string{"", "{", "{}", `{"PrivateKey":"privkey:00"}`, `{"PrivateKey":"privkey:` + strings.Repeat("0", 64) + `"}`} {
		os.WriteFile(path, []byte(text), 0o600)
		if _, err := KeyFile(path); err == nil {
			t.Errorf("%q has a key", text)
		}
	}
	if _, err := KeyFile(filepath.Join(path, "not a folder")); err == nil {
		t.Error("a key is kept nowhere")
	}
}

func TestSelfSignedIn(t *testing.T) {
	dir := t.TempDir()
	cert, pin, err := SelfSignedIn(dir, "relay.test")
	if err != nil {
		t.Fatal(err)
	}
	again, samePin, err := SelfSignedIn(dir, "relay.test")
	if err != nil || samePin != pin || string(again.Certificate[0]) != string(cert.Certificate[0]) {
		t.Errorf("the pin after a restart is %s, not %s: %v", samePin, pin, err)
	}
	_, otherPin, err := SelfSignedIn(dir, "192.0.2.1")
	if err != nil || otherPin == pin {
		t.Errorf("another host: %v", err)
	}
	os.Rename(filepath.Join(dir, "192.0.2.1.crt"), filepath.Join(dir, "relay.test.crt"))
	os.Rename(filepath.Join(dir, "192.0.2.1.key"), filepath.Join(dir, "relay.test.key"))
	if _, newPin, err := SelfSignedIn(dir, "relay.test"); err != nil || newPin == otherPin {
		t.Errorf("a certificate for another host is taken: %v", err)
	}
	os.WriteFile(filepath.Join(dir, "relay.test.crt"), []byte("broken"), 0o600)
	if _, _, err := SelfSignedIn(dir, "relay.test"); err == nil {
		t.Error("what somebody put there is overwritten")
	}
}

func TestCertFilesAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, host := t.TempDir(), "relay.test"
		certFile, keyFile := filepath.Join(dir, host+".crt"), filepath.Join(dir, host+".key")
		if _, err := LoadCertFiles(certFile, keyFile, nil); err == nil {
			t.Error("a certificate is read that is not there")
		}
		day := time.Now()
		renew := func() string {
			os.Remove(certFile)
			day = day.Add(24 * time.Hour)
			defer func() { os.Chtimes(certFile, day, day) }() // some file systems' clocks are coarse
			_, pin, err := SelfSignedIn(dir, host)
			if err != nil {
				t.Fatal(err)
			}
			return pin
		}
		first := renew()
		files, err := LoadCertFiles(certFile, keyFile, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := func(what, pin string) {
			t.Helper()
			cert, err := files.GetCertificate(&tls.ClientHelloInfo{})
			if err != nil || pinOf(cert.Certificate[0]) != pin {
				t.Errorf("%s: %v", what, err)
			}
		}
		want("what was read", first)
		second := renew()
		want("what was read a moment ago", first)
		<-time.After(certFilesPeriod)
		want("what is there now", second)
		os.WriteFile(certFile, []byte("half a fi"), 0o600)
		<-time.After(certFilesPeriod)
		want("what was there before the file was broken", second)
		third := renew()
		<-time.After(certFilesPeriod)
		want("what is there when it is whole again", third)
	})
}
