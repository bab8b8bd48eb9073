package portmap

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
)

// Messages of SSDP, with which UPnP devices are found: those of HTTP, in UDP
// datagrams (UPnP Device Architecture 1.1, section 1.3). The search goes to
// port 1900 of a multicast group, and of the gateway:
//
//	M-SEARCH * HTTP/1.1
//	HOST: 239.255.255.250:1900
//	MAN: "ssdp:discover"
//	MX: 1                             seconds within which to answer
//	ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1
//
// and a device answers where its description is:
//
//	HTTP/1.1 200 OK
//	LOCATION: http://192.168.1.1:5000/rootDesc.xml
//	ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1
const ssdpPort = 1900

// ssdpGroup is where UPnP devices listen.
func ssdpGroup() netip.Addr { return netip.AddrFrom4([4]byte{239, 255, 255, 250}) }

// ssdpTargets are what we look for. A gateway of version 2 answers for 1 too,
// and some answer only for everything that they are.
func ssdpTargets() []string {
	return []string{"urn:schemas-upnp-org:device:InternetGatewayDevice:1", "ssdp:all"}
}

// appendSSDPSearch appends a search for devices of a kind.
func appendSSDPSearch(b []byte, target string) []byte {
	return fmt.Appendf(b, "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: %s\r\n\r\n", target)
}

var errNotSSDP = errors.New("portmap: not an SSDP response")

// parseSSDP returns what a response says in LOCATION, as it stands there.
func parseSSDP(b []byte) (location string, err error) {
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return "", errNotSSDP
	}
	r.Body.Close()
	location = r.Header.Get("Location")
	if r.StatusCode != http.StatusOK || location == "" {
		return "", errNotSSDP
	}
	return location, nil
}

// maxURL is how long a gateway's URLs may be.
const maxURL = 1024

// gatewayURL parses a URL that came over the network, relative to base if that
// is not nil, and refuses it unless it leads to the gateway, by HTTP: others on
// the network must not make us talk to whom they like.
func gatewayURL(raw string, base *url.URL, gateway netip.Addr) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, errors.New("portmap: URL is too long")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("portmap: URL of a device: %w", err)
	}
	if base != nil {
		u = base.ResolveReference(u)
	}
	host, err := netip.ParseAddr(u.Hostname())
	if err != nil || host.Unmap() != gateway || u.Scheme != "http" || u.User != nil {
		return nil, fmt.Errorf("portmap: URL %q does not lead to the gateway", raw)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("portmap: URL %q has no port of TCP", raw)
		}
	}
	return u, nil
}
