package policy

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// What a file may have at most.
const (
	maxFile   = 1 << 20 // bytes
	maxDepth  = 32      // values within values
	maxValues = 100_000
)

// value is one of the file's values, and knows where it stands. The file is
// JSON with comments and with commas behind last elements:
//
//	// until the end of the line
//	/* until the other sign */
//	{"key": [1, 2,],}
type value struct {
	kind    byte    // '{' '[' '"' '0' 't' 'f' 'n'
	at      int     // its first byte in the file
	text    string  // of a string: what it says; of numbers and words: as written
	elems   []value // of '['
	members []field // of '{', in the file's order
}

type field struct {
	key   string
	at    int // of the key
	value value
}

// what names the kind of v for people.
func (v value) what() string {
	switch v.kind {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 'n':
		return "null"
	default:
		return "true or false"
	}
}

// appendJSON appends v as JSON proper: without comments, spaces and the commas
// that only people like.
func (v value) appendJSON(b []byte) []byte {
	switch v.kind {
	case '{':
		b = append(b, '{')
		for i, m := range v.members {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, m.key), ':')
			b = m.value.appendJSON(b)
		}
		return append(b, '}')
	case '[':
		b = append(b, '[')
		for i, e := range v.elems {
			if i > 0 {
				b = append(b, ',')
			}
			b = e.appendJSON(b)
		}
		return append(b, ']')
	case '"':
		return appendString(b, v.text)
	default:
		return append(b, v.text...)
	}
}

func appendString(b []byte, s string) []byte {
	text, _ := json.Marshal(s) // strings have no errors
	return append(b, text...)
}

// syntaxError ends the reading of a file.
type syntaxError struct {
	at     int
	reason string
}

func (e *syntaxError) Error() string { return e.reason }

// scanner reads values from data. pos is what it reads next.
type scanner struct {
	data   []byte
	pos    int
	values int
}

// parseFile reads the one value of a file.
func parseFile(data []byte) (value, *syntaxError) {
	s := &scanner{data: data}
	if len(data) > maxFile {
		return value{}, s.failAt(maxFile, "the file has %d bytes, and may have %d", len(data), maxFile)
	}
	for at := 0; at < len(data); {
		r, n := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && n == 1 {
			return value{}, s.failAt(at, "this is not UTF-8")
		}
		at += n
	}
	v, err := s.value(0)
	if err == nil {
		err = s.space()
	}
	if err == nil && s.pos < len(s.data) {
		err = s.failAt(s.pos, "something follows the end of the policy")
	}
	return v, err
}

func (s *scanner) failAt(at int, format string, args ...any) *syntaxError {
	return &syntaxError{at, fmt.Sprintf(format, args...)}
}

// peek returns the next byte, or 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// space skips white space and comments.
func (s *scanner) space() *syntaxError {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		case '/':
			if err := s.comment(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

func (s *scanner) comment() *syntaxError {
	start := s.pos
	s.pos++
	switch s.peek() {
	case '/':
		for s.pos < len(s.data) && s.data[s.pos] != '\n' {
			s.pos++
		}
		return nil
	case '*':
		for s.pos++; s.pos+1 < len(s.data); s.pos++ {
			if s.data[s.pos] == '*' && s.data[s.pos+1] == '/' {
				s.pos += 2
				return nil
			}
		}
		return s.failAt(start, "this comment has no end")
	default:
		return s.failAt(start, "a comment begins with // or /*")
	}
}

func (s *scanner) value(depth int) (value, *syntaxError) {
	if err := s.space(); err != nil {
		return value{}, err
	}
	if s.values++; s.values > maxValues {
		return value{}, s.failAt(s.pos, "the file has more than %d values", maxValues)
	}
	if depth > maxDepth {
		return value{}, s.failAt(s.pos, "values stand within values more than %d deep", maxDepth)
	}
	switch c := s.peek(); {
	case s.pos == len(s.data):
		return value{}, s.failAt(s.pos, "the file ends where a value should stand")
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.list(depth)
	case c == '"':
		at := s.pos
		text, err := s.str()
		return value{kind: '"', at: at, text: text}, err
	default:
		return s.word()
	}
}

// object reads members, each followed by a comma or by the end.
func (s *scanner) object(depth int) (value, *syntaxError) {
	v := value{kind: '{', at: s.pos}
	s.pos++
	for {
		if err := s.space(); err != nil {
			return v, err
		}
		if s.peek() == '}' {
			s.pos++
			return v, nil
		}
		m, err := s.member(depth)
		if err != nil {
			return v, err
		}
		v.members = append(v.members, m)
		if err := s.comma(v, '}'); err != nil {
			return v, err
		}
	}
}

func (s *scanner) member(depth int) (m field, err *syntaxError) {
	m.at = s.pos
	if s.peek() != '"' {
		return m, s.failAt(s.pos, "a key in quotes should stand here")
	}
	if m.key, err = s.str(); err != nil {
		return m, err
	}
	if err = s.space(); err != nil {
		return m, err
	}
	if s.peek() != ':' {
		return m, s.failAt(s.pos, "a colon should follow the key %.40q", m.key)
	}
	s.pos++
	m.value, err = s.value(depth + 1)
	return m, err
}

func (s *scanner) list(depth int) (value, *syntaxError) {
	v := value{kind: '[', at: s.pos}
	s.pos++
	for {
		if err := s.space(); err != nil {
			return v, err
		}
		if s.peek() == ']' {
			s.pos++
			return v, nil
		}
		e, err := s.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.elems = append(v.elems, e)
		if err := s.comma(v, ']'); err != nil {
			return v, err
		}
	}
}

// comma skips the comma behind an element of v; the last one need not have it.
func (s *scanner) comma(v value, end byte) *syntaxError {
	if err := s.space(); err != nil {
		return err
	}
	switch {
	case s.pos == len(s.data):
		return s.failAt(v.at, "%s that begins here has no end", v.what())
	case s.data[s.pos] == ',':
		s.pos++
	case s.data[s.pos] != end:
		return s.failAt(s.pos, "a comma or %q should stand here", end)
	}
	return nil
}

// str reads a string, with its quotes.
func (s *scanner) str() (string, *syntaxError) {
	start := s.pos
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch s.data[s.pos] {
		case '\\':
			s.pos++
		case '\n':
			return "", s.failAt(start, "this string does not end in its line")
		case '"':
			s.pos++
			var text string
			if err := json.Unmarshal(s.data[start:s.pos], &text); err != nil {
				return "", s.failAt(start, "this is no JSON string: %v", err)
			}
			return text, nil
		}
	}
	s.pos = len(s.data)
	return "", s.failAt(start, "this string has no end")
}

// word reads a number, true, false or null.
func (s *scanner) word() (value, *syntaxError) {
	start := s.pos
	for s.pos < len(s.data) && isWord(s.data[s.pos]) {
		s.pos++
	}
	text := s.data[start:s.pos]
	if !json.Valid(text) {
		shown := strconv.Quote(string(text))
		if len(text) == 0 {
			r, _ := utf8.DecodeRune(s.data[start:])
			shown = strconv.QuoteRune(r)
		}
		return value{}, s.failAt(start, "%.40s is no value", shown)
	}
	kind := text[0]
	if kind == '-' || kind >= '0' && kind <= '9' {
		kind = '0'
	}
	return value{kind: kind, at: start, text: string(text)}, nil
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '+' || c == '.' || c == '_'
}
