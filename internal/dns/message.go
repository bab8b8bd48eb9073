package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// A Question is what a DNS server is asked.
type Question struct {
	ID   uint16 // random, and in the answer again
	Name string // full, with or without the trailing dot
	Type dnsmessage.Type
}

// The types of questions.
const (
	TypeA    = dnsmessage.TypeA
	TypeAAAA = dnsmessage.TypeAAAA
	TypePTR  = dnsmessage.TypePTR
)

// An Answer is what a DNS server says.
type Answer struct {
	Addrs []netip.Addr // of TypeA and TypeAAAA
	Names []string     // of TypePTR, without the trailing dot
	// NoSuchName is whether the name does not exist at all.
	NoSuchName bool
	// Truncated is whether there is more, for which to ask over TCP.
	Truncated bool
}

var (
	// ErrOther means that a message is no answer to the question: another may
	// follow.
	ErrOther = errors.New("dns: the message answers something else")
	// ErrServer means that the server could not answer, and another may.
	ErrServer = errors.New("dns: the server cannot answer")
)

// maxAnswers bounds the addresses or names that are taken from an answer.
const maxAnswers = 64

// Append appends the question, as a message, to dst.
func (q Question) Append(dst []byte) ([]byte, error) {
	name, err := dnsmessage.NewName(rooted(q.Name))
	if err != nil {
		return nil, fmt.Errorf("the name %q cannot be asked for: %w", q.Name, err)
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.ID, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: q.Type, Class: dnsmessage.ClassINET}},
	}
	return m.AppendPack(dst)
}

// Parse reads a message that may be the answer. The server follows aliases, and
// what it says of another name is only taken if an alias leads there.
func (q Question) Parse(message []byte) (a Answer, err error) {
	var p dnsmessage.Parser
	header, err := p.Start(message)
	if err != nil || header.ID != q.ID || !header.Response {
		return a, ErrOther
	}
	asked, err := p.Question()
	if err != nil || !strings.EqualFold(asked.Name.String(), rooted(q.Name)) || asked.Type != q.Type || asked.Class != dnsmessage.ClassINET {
		return a, ErrOther
	}
	if p.SkipAllQuestions() != nil {
		return a, ErrServer
	}
	a.Truncated = header.Truncated
	switch header.RCode {
	case dnsmessage.RCodeSuccess:
	case dnsmessage.RCodeNameError:
		a.NoSuchName = true
		return a, nil
	default:
		return a, fmt.Errorf("%w: %v", ErrServer, header.RCode)
	}
	return a, q.take(&p, &a)
}

// take reads the answers. Aliases come before what they lead to.
func (q Question) take(p *dnsmessage.Parser, a *Answer) error {
	names := []string{strings.ToLower(rooted(q.Name))}
	for len(a.Addrs)+len(a.Names) < maxAnswers && len(names) < maxAnswers {
		header, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrServer, err)
		}
		if !slices.Contains(names, strings.ToLower(header.Name.String())) || header.Type != q.Type && header.Type != dnsmessage.TypeCNAME {
			if err := p.SkipAnswer(); err != nil {
				return fmt.Errorf("%w: %w", ErrServer, err)
			}
			continue
		}
		switch header.Type {
		case TypeA:
			var r dnsmessage.AResource
			r, err = p.AResource()
			a.Addrs = append(a.Addrs, netip.AddrFrom4(r.A))
		case TypeAAAA:
			var r dnsmessage.AAAAResource
			r, err = p.AAAAResource()
			a.Addrs = append(a.Addrs, netip.AddrFrom16(r.AAAA))
		case TypePTR:
			var r dnsmessage.PTRResource
			r, err = p.PTRResource()
			a.Names = append(a.Names, strings.TrimSuffix(r.PTR.String(), "."))
		case dnsmessage.TypeCNAME:
			var r dnsmessage.CNAMEResource
			r, err = p.CNAMEResource()
			names = append(names, strings.ToLower(r.CNAME.String()))
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrServer, err)
		}
	}
	return nil
}

// ReverseName is the name under which the name of an address is asked for.
func ReverseName(addr netip.Addr) string {
	var b strings.Builder
	if addr = addr.Unmap(); addr.Is4() {
		for _, digit := range slices.Backward(addr.AsSlice()) {
			fmt.Fprintf(&b, "%d.", digit)
		}
		return b.String() + "in-addr.arpa"
	}
	for _, digit := range slices.Backward(addr.AsSlice()) {
		fmt.Fprintf(&b, "%x.%x.", digit&0xf, digit>>4)
	}
	return b.String() + "ip6.arpa"
}

func rooted(name string) string { return strings.TrimSuffix(name, ".") + "." }
