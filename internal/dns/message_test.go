package dns

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// answerTo packs an answer to a question.
func answerTo(t testing.TB, q Question, change func(*dnsmessage.Message)) []byte {
	t.Helper()
	text, err := q.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(text); err != nil {
		t.Fatal(err)
	}
	m.Response = true
	change(&m)
	text, err = m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func record(name string, body dnsmessage.ResourceBody) dnsmessage.Resource {
	header := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET}
	switch body.(type) {
	case *dnsmessage.AResource:
		header.Type = TypeA
	case *dnsmessage.AAAAResource:
		header.Type = TypeAAAA
	case *dnsmessage.CNAMEResource:
		header.Type = dnsmessage.TypeCNAME
	case *dnsmessage.PTRResource:
		header.Type = TypePTR
	}
	return dnsmessage.Resource{Header: header, Body: body}
}

func TestAnswers(t *testing.T) {
	a := func(last byte) dnsmessage.ResourceBody { return &dnsmessage.AResource{A: [4]byte{192, 0, 2, last}} }
	alias := func(to string) dnsmessage.ResourceBody {
		return &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(to)}
	}
	addr := func(text string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(text)} }
	www := Question{ID: 7, Name: "www.corp.test", Type: TypeA}
	for _, test := range []struct {
		why    string
		q      Question
		change func(*dnsmessage.Message)
		want   Answer
		err    error
	}{
		{"an address", www, func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{record("WWW.corp.test.", a(1))}
		}, Answer{Addrs: addr("192.0.2.1")}, nil},
		{"an alias", www, func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{record("www.corp.test.", alias("a.corp.test.")), record("a.corp.test.", alias("b.test.")), record("b.test.", a(2))}
		}, Answer{Addrs: addr("192.0.2.2")}, nil},
		{"what was not asked for", www, func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{record("bank.test.", a(3)), record("www.corp.test.", &dnsmessage.AAAAResource{}), record("www.corp.test.", a(4))}
		}, Answer{Addrs: addr("192.0.2.4")}, nil},
		{"nothing", www, func(*dnsmessage.Message) {}, Answer{}, nil},
		{"no such name", www, func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError }, Answer{NoSuchName: true}, nil},
		{"more by TCP", www, func(m *dnsmessage.Message) { m.Truncated = true }, Answer{Truncated: true}, nil},
		{"a failure", www, func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure }, Answer{}, ErrServer},
		{"another ID", www, func(m *dnsmessage.Message) { m.ID++ }, Answer{}, ErrOther},
		{"another name", www, func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("x.test.") }, Answer{}, ErrOther},
		{"another type", www, func(m *dnsmessage.Message) { m.Questions[0].Type = TypeAAAA }, Answer{}, ErrOther},
		{"a question", www, func(m *dnsmessage.Message) { m.Response = false }, Answer{}, ErrOther},
		{"IPv6", Question{Name: "www.corp.test.", Type: TypeAAAA}, func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{record("www.corp.test.", &dnsmessage.AAAAResource{AAAA: [16]byte{0: 0xfd, 15: 1}})}
		}, Answer{Addrs: addr("fd00::1")}, nil},
		{"a name", Question{Name: ReverseName(netip.MustParseAddr("192.0.2.1")), Type: TypePTR}, func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{record("1.2.0.192.in-addr.arpa.", &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName("www.corp.test.")})}
		}, Answer{Names: []string{"www.corp.test"}}, nil},
	} {
		got, err := test.q.Parse(answerTo(t, test.q, test.change))
		if !errors.Is(err, test.err) || test.err == nil && !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v, want %+v, %v", test.why, got, err, test.want, test.err)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	q := Question{Name: "many.test", Type: TypeA}
	got, err := q.Parse(answerTo(t, q, func(m *dnsmessage.Message) {
		for range 10 * maxAnswers {
			m.Answers = append(m.Answers, record("many.test.", &dnsmessage.AResource{}))
		}
	}))
	if err != nil || len(got.Addrs) != maxAnswers {
		t.Errorf("%d addresses, %v, want %d", len(got.Addrs), err, maxAnswers)
	}
}

func TestReverseName(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":        "1.2.0.192.in-addr.arpa",
		"::ffff:192.0.2.1": "1.2.0.192.in-addr.arpa",
		"fd00::12":         "2.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
	} {
		if got := ReverseName(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestServers(t *testing.T) {
	s := NewServers(map[string][]string{
		"corp.test.":    {"10.0.0.1", "https://dns.test/query", "dns.test"},
		"Sub.Corp.test": {"10.0.0.2:5353", "[fd00::1]:53"},
		"mesh.test":     nil,
	}, []string{"100.64.0.9"})
	for name, want := range map[string][]string{
		"www.corp.test":     {"10.0.0.1:53"},
		"CORP.test.":        {"10.0.0.1:53"},
		"www.SUB.corp.test": {"10.0.0.2:5353", "[fd00::1]:53"},
		"www.mesh.test":     nil,
		"xcorp.test":        {"100.64.0.9:53"},
		"test":              {"100.64.0.9:53"},
	} {
		var got []string
		for _, server := range s.For(name) {
			got = append(got, server.String())
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is asked of %v, want %v", name, got, want)
		}
	}
	if got := (Servers{}).For("www.test"); got != nil {
		t.Errorf("no servers are %v", got)
	}
	if got := NewServers(map[string][]string{".": {"10.0.0.3"}}, []string{"10.0.0.4"}).For("www.test"); len(got) != 1 || got[0].Addr().String() != "10.0.0.3" {
		t.Errorf("the server of all names is %v", got)
	}
}

func FuzzParseAnswer(f *testing.F) {
	q := Question{ID: 7, Name: "www.corp.test", Type: TypeA}
	f.Add(answerTo(f, q, func(m *dnsmessage.Message) {
		m.Answers = []dnsmessage.Resource{record("www.corp.test.", &dnsmessage.AResource{})}
	}))
	f.Add([]byte{0, 7, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := q.Parse(b); err == nil && len(a.Addrs) > maxAnswers {
			t.Errorf("%d addresses", len(a.Addrs))
		}
	})
}
