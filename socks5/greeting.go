package socks5

import (
	"bytes"
	"fmt"
)

const version = 5

// The methods of authentication (RFC 1928, section 3) that are known here.
const (
	methodNone         = 0x00
	methodPassword     = 0x02
	methodUnacceptable = 0xff
)

// greetingSize is the size of the message with which a client begins:
//
//	+----+----------+----------+
//	|VER | NMETHODS | METHODS  |
//	+----+----------+----------+
//	| 1  |    1     | 1 to 255 |
//	+----+----------+----------+
//
// VER is 5. The answer is VER and the method chosen, or FF for none.
func greetingSize(b []byte) (int, error) {
	if len(b) > 0 && b[0] != version {
		return 0, notSOCKS5(b[0])
	}
	if len(b) < 2 {
		return 2, nil
	}
	return 2 + int(b[1]), nil
}

// parseGreeting returns the methods that the client offers.
func parseGreeting(b []byte) (methods []byte, err error) {
	if err := complete(b, greetingSize); err != nil {
		return nil, err
	}
	return b[2:], nil
}

// chooseMethod returns the one method that will do, if it is offered.
func chooseMethod(offered []byte, password bool) byte {
	var method byte = methodNone
	if password {
		method = methodPassword
	}
	if bytes.IndexByte(offered, method) < 0 {
		return methodUnacceptable
	}
	return method
}

// notSOCKS5 says what the client seems to speak, judged by its first byte.
func notSOCKS5(first byte) error {
	switch {
	case first == 4:
		return fmt.Errorf("the client speaks SOCKS4, which is not served: tell it to use SOCKS5")
	case 'A' <= first && first <= 'Z':
		return fmt.Errorf("the client seems to speak HTTP: tell it to use SOCKS5")
	case first == 0x16:
		return fmt.Errorf("the client seems to speak TLS: tell it to use SOCKS5")
	}
	return fmt.Errorf("the client does not speak SOCKS5: its first byte is %#02x", first)
}
