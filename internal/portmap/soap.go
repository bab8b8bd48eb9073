package portmap

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Documents of UPnP, which come and go by HTTP. The description of a device is
// a tree of devices with services:
//
//	<root> <URLBase/>
//	 <device>
//	  <deviceList> <device> … <deviceList> <device>
//	   <serviceList> <service>
//	    <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
//	    <controlURL>/ctl/IPConn</controlURL>
//
// A service's action is called by a SOAP document that is posted to its URL,
// with arguments in the order of the specification, and answered by another
// with results, or with a fault:
//
//	<s:Envelope> <s:Body>                      <s:Envelope> <s:Body>
//	 <u:AddPortMapping xmlns:u="(type)">        <u:AddPortMappingResponse xmlns:u="(type)">
//	  <NewRemoteHost></NewRemoteHost>            <s:Fault> <detail> <UPnPError>
//	  <NewExternalPort>41641</NewExternalPort>    <errorCode>718</errorCode>
//	  …                                           <errorDescription>ConflictInMappingEntry
const (
	maxDescription = 256 << 10 // a gateway's are 5 to 20 KiB
	maxSOAP        = 32 << 10
	maxServices    = 8
	maxResults     = 32
)

// A service is what makes mappings on an external connection of a device.
type service struct {
	typ     string // urn:(who):service:WANIPConnection:(version), or WANPPPConnection
	control *url.URL
}

// version is the last part of the service's type.
func (s service) version() int {
	n, _ := strconv.Atoi(s.typ[strings.LastIndexByte(s.typ, ':')+1:])
	return n
}

// mapsPorts reports whether a service of a type can. Old gateways have others
// than the UPnP Forum in front.
func mapsPorts(typ string) bool {
	parts := strings.Split(typ, ":")
	return len(parts) == 5 && parts[0] == "urn" && parts[2] == "service" &&
		(parts[3] == "WANIPConnection" || parts[3] == "WANPPPConnection")
}

type xmlDevice struct {
	Services []struct {
		Type    string `xml:"serviceType"`
		Control string `xml:"controlURL"`
	} `xml:"serviceList>service"`
	Devices []xmlDevice `xml:"deviceList>device"`
}

// parseDescription returns the services of a device that make mappings, of a
// description that lies at location. It passes over those whose URL does not
// lead to the gateway.
func parseDescription(b []byte, location *url.URL, gateway netip.Addr) ([]service, error) {
	var root struct {
		Base   string    `xml:"URLBase"`
		Device xmlDevice `xml:"device"`
	}
	if err := newDecoder(b).Decode(&root); err != nil {
		return nil, fmt.Errorf("portmap: description of a device: %w", err)
	}
	if base, err := gatewayURL(strings.TrimSpace(root.Base), location, gateway); err == nil {
		location = base
	}
	services := root.Device.mapping(nil, location, gateway)
	if len(services) == 0 {
		return nil, errors.New("portmap: the device makes no mappings")
	}
	return services, nil
}

// mapping appends the services of a device and those below it.
func (d *xmlDevice) mapping(all []service, base *url.URL, gateway netip.Addr) []service {
	for _, s := range d.Services {
		typ := strings.TrimSpace(s.Type)
		if !mapsPorts(typ) || len(typ) > 128 || len(all) == maxServices {
			continue
		}
		control, err := gatewayURL(strings.TrimSpace(s.Control), base, gateway)
		if err == nil {
			all = append(all, service{typ, control})
		}
	}
	for i := range d.Devices {
		all = d.Devices[i].mapping(all, base, gateway)
	}
	return all
}

// argument is one of an action's.
type argument struct{ name, value string }

// appendCall appends the document that calls an action.
func appendCall(b []byte, typ, action string, args []argument) []byte {
	w := bytes.NewBuffer(b)
	w.WriteString(`<?xml version="1.0"?>` + "\r\n" +
		`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">` +
		`<s:Body><u:` + action + ` xmlns:u="`)
	xml.EscapeText(w, []byte(typ)) // writing to a Buffer does not fail
	w.WriteString(`">`)
	for _, arg := range args {
		w.WriteString("<" + arg.name + ">")
		xml.EscapeText(w, []byte(arg.value))
		w.WriteString("</" + arg.name + ">")
	}
	w.WriteString(`</u:` + action + `></s:Body></s:Envelope>` + "\r\n")
	return w.Bytes()
}

// fault is how a device refuses.
type fault struct {
	code        int
	description string
}

// Codes of UPnP and of WANIPConnection.
const (
	faultConflict      = 718 // the port is another's
	faultSamePort      = 724 // external and internal port must be one
	faultPermanentOnly = 725 // mappings cannot end by themselves
)

func (f *fault) Error() string { return fmt.Sprintf("%d %s", f.code, f.description) }

func isFault(err error, codes ...int) bool {
	var f *fault
	return errors.As(err, &f) && slices.Contains(codes, f.code)
}

// parseResults returns the results of an action by name. The error is a
// *fault when the device refused.
func parseResults(b []byte, action string) (map[string]string, error) {
	results, name, d := map[string]string{}, "", newDecoder(b)
	for len(results) <= maxResults {
		token, err := d.Token()
		if err == io.EOF {
			return results, verdict(results, action)
		}
		if err != nil {
			return nil, fmt.Errorf("portmap: answer of a device: %w", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			name = token.Name.Local
			results[name] += ""
		case xml.CharData:
			if name != "" {
				results[name] += strings.TrimSpace(string(token))
			}
		case xml.EndElement:
			name = "" // text between elements is of none
		}
	}
	return nil, errors.New("portmap: answer of a device has too many parts")
}

// verdict returns nil if results are those of a successful action.
func verdict(results map[string]string, action string) error {
	if _, ok := results[action+"Response"]; ok {
		return nil
	}
	code, refused := results["errorCode"]
	if !refused {
		return errors.New("portmap: answer of a device to something else")
	}
	n, _ := strconv.Atoi(code)
	return &fault{n, clip(results["errorDescription"], 64)}
}

// clip bounds what strangers have us write into logs.
func clip(s string, n int) string { return s[:min(len(s), n)] }

// newDecoder takes XML as gateways write it: with names of encodings that all
// mean ASCII, and not always well formed.
func newDecoder(b []byte) *xml.Decoder {
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Strict = false
	d.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	return d
}
