package portmap

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

// exampleDescription is of the usual shape: a device within a device within a
// device.
func exampleDescription(typ, control string) string {
	return `<?xml version="1.0" encoding="iso-8859-1"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
 <serviceList><service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType><controlURL>/ctl/L3F</controlURL></service></serviceList>
 <deviceList><device><deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType>
  <deviceList><device><deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType>
   <serviceList><service> <serviceType>` + typ + `</serviceType> <controlURL>
     ` + control + ` </controlURL></service></serviceList>
  </device></deviceList>
 </device></deviceList>
</device></root>`
}

const wanIP1 = "urn:schemas-upnp-org:service:WANIPConnection:1"

func TestDescription(t *testing.T) {
	location, _ := url.Parse("http://192.168.1.1:5000/rootDesc.xml")
	for _, tt := range []struct{ name, xml, want string }{
		{"version 1", exampleDescription(wanIP1, "/ctl/IPConn"), "http://192.168.1.1:5000/ctl/IPConn"},
		{"PPP", exampleDescription("urn:schemas-upnp-org:service:WANPPPConnection:1", "/ctl"), "http://192.168.1.1:5000/ctl"},
		{"of an old gateway", exampleDescription("urn:dslforum-org:service:WANIPConnection:1", "http://192.168.1.1:80/c"), "http://192.168.1.1:80/c"},
		{"with a base", strings.Replace(exampleDescription(wanIP1, "ctl"), "<device>", "<URLBase>http://192.168.1.1:1/x/</URLBase><device>", 1), "http://192.168.1.1:1/x/ctl"},
		{"with a base elsewhere", strings.Replace(exampleDescription(wanIP1, "ctl"), "<device>", "<URLBase>http://203.0.113.1/</URLBase><device>", 1), "http://192.168.1.1:5000/ctl"},
		{"control elsewhere", exampleDescription(wanIP1, "http://203.0.113.1/"), ""},
		{"other services", exampleDescription("urn:schemas-upnp-org:service:ContentDirectory:1", "/ctl"), ""},
		{"not XML", "Not Found", ""},
		{"empty", "", ""},
		{"deep", "<root>" + strings.Repeat("<device><deviceList>", 10000), ""},
	} {
		services, err := parseDescription([]byte(tt.xml), location, gate)
		switch {
		case tt.want == "" && err == nil:
			t.Errorf("%s: %v, want an error", tt.name, services)
		case tt.want != "" && (err != nil || services[0].control.String() != tt.want):
			t.Errorf("%s: %v, %v; want %s", tt.name, services, err, tt.want)
		}
	}
}

func TestManyServicesAreBounded(t *testing.T) {
	one := "<service><serviceType>" + wanIP1 + "</serviceType><controlURL>/c</controlURL></service>"
	xml := "<root><device><serviceList>" + strings.Repeat(one, 1000) + "</serviceList></device></root>"
	location, _ := url.Parse("http://192.168.1.1/")
	if services, err := parseDescription([]byte(xml), location, gate); err != nil || len(services) != maxServices {
		t.Errorf("%d services, %v", len(services), err)
	}
}

func TestServiceVersion(t *testing.T) {
	for typ, want := range map[string]int{wanIP1: 1, "urn:schemas-upnp-org:service:WANIPConnection:2": 2, "urn:a:service:WANIPConnection:x": 0} {
		if got := (service{typ: typ}).version(); got != want {
			t.Errorf("%s is version %d, want %d", typ, got, want)
		}
	}
}

func TestCall(t *testing.T) {
	got := string(appendCall(nil, wanIP1, "DeletePortMapping", []argument{{"NewRemoteHost", ""}, {"NewProtocol", "<&>"}}))
	want := `<s:Body><u:DeletePortMapping xmlns:u="` + wanIP1 + `"><NewRemoteHost></NewRemoteHost>` +
		`<NewProtocol>&lt;&amp;&gt;</NewProtocol></u:DeletePortMapping></s:Body>`
	if !strings.Contains(got, want) {
		t.Errorf("the call is %s", got)
	}
}

func soapReply(body string) string {
	return `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>` + body + `</s:Body></s:Envelope>`
}

func soapFault(code, description string) string {
	return soapReply(`<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0">` +
		`<errorCode>` + code + `</errorCode><errorDescription>` + description + `</errorDescription></UPnPError></detail></s:Fault>`)
}

func TestResults(t *testing.T) {
	const action = "GetExternalIPAddress"
	reply := soapReply(`<u:` + action + `Response xmlns:u="` + wanIP1 + `"> <NewExternalIPAddress> 203.0.113.9 </NewExternalIPAddress></u:` + action + `Response>`)
	results, err := parseResults([]byte(reply), action)
	if err != nil || results["NewExternalIPAddress"] != "203.0.113.9" {
		t.Errorf("%v, %v", results, err)
	}
	if _, err := parseResults([]byte(reply), "AddPortMapping"); err == nil {
		t.Error("the answer to another action is taken")
	}
	_, err = parseResults([]byte(soapFault("718", strings.Repeat("Conflict", 100))), action)
	if !isFault(err, faultConflict) || len(err.Error()) > 100 {
		t.Errorf("a fault is %v", err)
	}
	var f *fault
	for name, s := range map[string]string{
		"nothing":   "",
		"HTML":      "<html><body>Not Found<br></body></html>",
		"text":      "Not Found",
		"cut short": reply[:len(reply)/2],
		"many":      soapReply("<u:" + action + "Response>" + manyElements(1000)),
	} {
		if results, err := parseResults([]byte(s), action); err == nil || errors.As(err, &f) {
			t.Errorf("%s: %v, %v", name, results, err)
		}
	}
}

func manyElements(n int) string {
	var b strings.Builder
	for i := range n {
		name := "a" + strings.Repeat("b", i%100) + strings.Repeat("c", i/100)
		b.WriteString("<" + name + ">1</" + name + ">")
	}
	return b.String()
}

func FuzzParseDescription(f *testing.F) {
	f.Add([]byte(exampleDescription(wanIP1, "/ctl")))
	location, _ := url.Parse("http://192.168.1.1/")
	f.Fuzz(func(t *testing.T, b []byte) {
		services, err := parseDescription(b, location, gate)
		if err != nil {
			return
		}
		for _, s := range services {
			s.version()
			if !strings.Contains(s.control.Host, "192.168.1.1") {
				t.Errorf("%v leads elsewhere", s.control)
			}
		}
	})
}

func FuzzParseResults(f *testing.F) {
	f.Add([]byte(soapReply(`<u:AddPortMappingResponse/>`)))
	f.Add([]byte(soapFault("718", "ConflictInMappingEntry")))
	f.Fuzz(func(t *testing.T, b []byte) { parseResults(b, "AddPortMapping") })
}
