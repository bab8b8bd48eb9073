package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const thisMachine = "127.0.0.1"

// parseLocal reads where to listen on this machine: HOST:PORT, or a PORT of
// 127.0.0.1. Port 0 is any free one, and no host is all addresses, as Go
// programs have it.
func parseLocal(text string) (string, error) {
	host, port := thisMachine, text
	if !isNumber(text) {
		var err error
		if host, port, err = splitAddress(text); err != nil {
			return "", err
		}
	}
	if port != "0" && !isPort(port) {
		return "", fmt.Errorf("%q is no port", port)
	}
	return net.JoinHostPort(host, port), nil
}

// parseTarget reads what to connect to: HOST:PORT, HOST or PORT. What is missing
// is taken from the defaults, which may be empty: then it may not be missing.
func parseTarget(text, defaultHost, defaultPort string) (string, error) {
	host, port := "", ""
	switch colon := strings.LastIndexByte(text, ':'); {
	case isNumber(text):
		port = text
	case colon > strings.LastIndexByte(text, ']'):
		var err error
		if host, port, err = splitAddress(text); err != nil {
			return "", err
		}
	default:
		var err error
		if host, _, err = splitAddress(text + ":"); err != nil {
			return "", err
		}
		port = defaultPort
	}
	if host == "" {
		host = defaultHost
	}
	switch {
	case host == "":
		return "", fmt.Errorf("%q names no host", text)
	case port == "":
		return "", fmt.Errorf("%q names no port", text)
	case !isPort(port):
		return "", fmt.Errorf("%q is no port", port)
	}
	return net.JoinHostPort(host, port), nil
}

// splitAddress is net.SplitHostPort with a look at the host, and with errors
// that say what to do.
func splitAddress(text string) (host, port string, err error) {
	if strings.Contains(text, "://") {
		return "", "", fmt.Errorf("%q is a URL; want HOST:PORT", text)
	}
	if host, port, err = net.SplitHostPort(text); err != nil {
		why := err
		if addrErr, ok := errors.AsType[*net.AddrError](err); ok {
			why = errors.New(addrErr.Err)
		}
		return "", "", fmt.Errorf("%q is not of the form HOST:PORT, nor [IPV6]:PORT: %w", text, why)
	}
	if host != "" && !isHost(host) {
		return "", "", fmt.Errorf("%q is no host", host)
	}
	return host, port, nil
}

// isHost says whether text is an IP address or looks like a name.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	return strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

func isNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// isPort says whether text is a port that can be connected to.
func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil && text[0] != '0'
}
