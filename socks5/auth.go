package socks5

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
)

// Credential returns a function for [Server.Auth] that accepts this user name
// and this password. The time that it takes does not tell how much of either
// was right.
func Credential(user, password string) func(user, password string) bool {
	wantUser, wantPassword := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))
	return func(user, password string) bool {
		gotUser, gotPassword := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))
		return subtle.ConstantTimeCompare(gotUser[:], wantUser[:])&
			subtle.ConstantTimeCompare(gotPassword[:], wantPassword[:]) == 1
	}
}

const (
	loginVersion  = 1
	loginAccepted = 0
	loginRefused  = 1 // any other value than 0
)

// loginSize is the size of the message that carries user name and password
// (RFC 1929):
//
//	+----+------+----------+------+----------+
//	|VER | ULEN |  UNAME   | PLEN |  PASSWD  |
//	+----+------+----------+------+----------+
//	| 1  |  1   | 1 to 255 |  1   | 1 to 255 |
//	+----+------+----------+------+----------+
//
// VER is 1. The answer is VER and a status, 0 for success. An empty name or
// password is read too, as clients send them: it is for [Server.Auth] to judge.
func loginSize(b []byte) (int, error) {
	if len(b) > 0 && b[0] != loginVersion {
		return 0, fmt.Errorf("version %d of the password message is unknown", b[0])
	}
	if len(b) < 2 {
		return 2, nil
	}
	lenAt := 2 + int(b[1])
	if len(b) <= lenAt {
		return lenAt + 1, nil
	}
	return lenAt + 1 + int(b[lenAt]), nil
}

func parseLogin(b []byte) (user, password string, err error) {
	if err := complete(b, loginSize); err != nil {
		return "", "", err
	}
	lenAt := 2 + int(b[1])
	return string(b[2:lenAt]), string(b[lenAt+1:]), nil
}
