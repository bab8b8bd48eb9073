package portmap

import (
	"net/url"
	"strings"
	"testing"
)

const ssdpExample = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n" +
	"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nEXT:\r\nServer: \r\n" +
	"Location: http://192.168.1.1:5000/rootDesc.xml\r\n01-NLS: 1\r\n\r\n"

func TestSSDP(t *testing.T) {
	want := "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n"
	if got := string(appendSSDPSearch(nil, "ssdp:all")); got != want {
		t.Errorf("the search is %q", got)
	}
	got, err := parseSSDP([]byte(ssdpExample))
	if err != nil || got != "http://192.168.1.1:5000/rootDesc.xml" {
		t.Errorf("the location is %q, %v", got, err)
	}
	for name, s := range map[string]string{
		"nothing":     "",
		"a search":    want,
		"an error":    strings.Replace(ssdpExample, "200 OK", "404 Not Found", 1),
		"no location": strings.Replace(ssdpExample, "Location", "Other", 1),
		"cut short":   ssdpExample[:60],
	} {
		if got, err := parseSSDP([]byte(s)); err == nil {
			t.Errorf("%s: location %q", name, got)
		}
	}
}

func TestURLsLeadToTheGateway(t *testing.T) {
	base, _ := url.Parse("http://192.168.1.1:5000/a/rootDesc.xml")
	for raw, want := range map[string]string{
		"http://192.168.1.1:5000/rootDesc.xml":              "http://192.168.1.1:5000/rootDesc.xml",
		"http://192.168.1.1":                                "http://192.168.1.1",
		"http://[::ffff:192.168.1.1]:80/":                   "http://[::ffff:192.168.1.1]:80/",
		"/ctl":                                              "http://192.168.1.1:5000/ctl",
		"ctl":                                               "http://192.168.1.1:5000/a/ctl",
		"http://192.168.1.2/":                               "",
		"http://203.0.113.1/":                               "",
		"http://localhost/":                                 "",
		"http://router.example/":                            "",
		"http://192.168.1.1.example/":                       "",
		"http://192.168.1.1@203.0.113.1/":                   "",
		"http://user:pass@192.168.1.1/":                     "",
		"//203.0.113.1/":                                    "",
		"https://192.168.1.1/":                              "",
		"file:///etc/passwd":                                "",
		"http://192.168.1.1:0/":                             "",
		"http://192.168.1.1:65536/":                         "",
		"http://192.168.1.1:x/":                             "",
		"http://192.168.1.1/\r\nHost: x":                    "",
		"http://192.168.1.1/" + strings.Repeat("a", maxURL): "",
	} {
		got, err := gatewayURL(raw, base, gate)
		if want == "" && err == nil || want != "" && (err != nil || got.String() != want) {
			t.Errorf("%q: %v, %v; want %q", raw, got, err, want)
		}
	}
}

func FuzzParseSSDP(f *testing.F) {
	f.Add([]byte(ssdpExample))
	f.Fuzz(func(t *testing.T, b []byte) {
		location, err := parseSSDP(b)
		if err != nil {
			return
		}
		if u, err := gatewayURL(location, nil, gate); err == nil && !strings.Contains(u.Host, "192.168.1.1") {
			t.Errorf("%q leads elsewhere", location)
		}
	})
}
