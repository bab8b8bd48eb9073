package web

import (
	"net/http"
	"slices"
	"strings"
)

// A page has headers as strings whose characters are bytes. Go has them as bytes,
// which need not be UTF-8, and js/wasm would take them for that.

// Pairs returns the names and values of a header as the constructor of a page's
// Headers takes them, which throws at names with a space, as Go lets pass.
func Pairs(h http.Header) [][2]string {
	var pairs [][2]string
	for name, values := range h {
		if strings.Contains(name, " ") {
			continue
		}
		for _, value := range values {
			pairs = append(pairs, [2]string{name, Characters(value)})
		}
	}
	return pairs
}

// Characters returns the string that has a character for each byte of text.
func Characters(text string) string {
	if !slices.ContainsFunc([]byte(text), func(b byte) bool { return b >= 0x80 }) {
		return text
	}
	characters := make([]rune, len(text))
	for i := range len(text) {
		characters[i] = rune(text[i])
	}
	return string(characters)
}

// Bytes is the reverse of [Characters].
func Bytes(characters string) string {
	text := make([]byte, 0, len(characters))
	for _, c := range characters {
		text = append(text, byte(c))
	}
	return string(text)
}
