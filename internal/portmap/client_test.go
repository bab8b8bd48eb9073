package portmap

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const port = 41641

var outside = netip.MustParseAddrPort("203.0.113.9:41641")

// behind runs a test on fake time with a Client behind a router.
func behind(t *testing.T, test func(t *testing.T, r *router, c *Client)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter()
		c := r.client(t)
		test(t, r, c)
		c.Close()
		synctest.Wait()
		if len(r.sockets) != 0 {
			t.Errorf("%d sockets are left open", len(r.sockets))
		}
	})
}

// start has the Client work.
func start(c *Client) {
	c.SetPort(port)
	c.SetGateway(gate, self)
}

// after lets time go by.
func after(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func wantMapping(t *testing.T, when string, c *Client, want netip.AddrPort) {
	t.Helper()
	if got := c.Mapping(); got != want {
		t.Fatalf("%s the mapping is %v, want %v", when, got, want)
	}
}

func none() netip.AddrPort { return netip.AddrPort{} }

func TestProtocols(t *testing.T) {
	for _, tt := range []struct {
		name   string
		router func(*router)
		within time.Duration
		last   string // the request that made it
		want   Services
	}{
		{"PCP", func(r *router) { r.pcp = true }, 0, "PCP map 41641 for 7200", Services{Searched: true, PCP: true}},
		{"NAT-PMP", func(r *router) { r.natpmp = true }, firstWait, "NAT-PMP map 41641 for 7200", Services{Searched: true, NATPMP: true}},
		{"UPnP 1", func(r *router) { r.upnp = 1 }, firstWait, "UPnP AddPortMapping", Services{Searched: true, UPnP: true}},
		{"UPnP 2", func(r *router) { r.upnp = 2 }, firstWait, "UPnP AddAnyPortMapping", Services{Searched: true, UPnP: true}},
		{"all", func(r *router) { r.pcp, r.natpmp, r.upnp = true, true, 1 }, 0, "PCP map 41641 for 7200", Services{Searched: true, PCP: true}},
		{"all but PCP", func(r *router) { r.natpmp, r.upnp = true, 1 }, firstWait, "NAT-PMP map 41641 for 7200", Services{Searched: true, NATPMP: true, UPnP: true}},
		{"a slow one", func(r *router) { r.natpmp, r.delay = true, 400*time.Millisecond }, 2 * time.Second, "NAT-PMP map 41641 for 7200", Services{Searched: true, NATPMP: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			behind(t, func(t *testing.T, r *router, c *Client) {
				tt.router(r)
				start(c)
				after(tt.within + time.Millisecond)
				wantMapping(t, "at once", c, outside)
				if got := c.Services(); got != tt.want {
					t.Errorf("the gateway speaks %+v, want %+v", got, tt.want)
				}
				if requests := r.took(); requests[len(requests)-1] != tt.last {
					t.Errorf("it was asked %q, want %q as the last", requests, tt.last)
				}
				select {
				case <-c.Changed():
				default:
					t.Error("Changed says nothing")
				}
				if got := r.mapped()[port]; got != netip.AddrPortFrom(self, port) {
					t.Errorf("the router maps the port to %v", got)
				}
				c.Close()
				wantMapping(t, "after Close", c, none())
				if left := r.mapped(); len(left) != 0 {
					t.Errorf("after Close the router has mappings %v", left)
				}
			})
		})
	}
}

func TestRefusalsLeadToTheNextProtocol(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.pcp, r.natpmp, r.upnp, r.refuse = true, true, 1, 2
		start(c)
		after(time.Second)
		wantMapping(t, "by UPnP", c, outside)
		if want := (Services{true, true, true, true}); c.Services() != want {
			t.Errorf("the gateway speaks %+v, want %+v", c.Services(), want)
		}
	})
}

func TestNothingThere(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		start(c)
		after(time.Second)
		if c.Services().Searched {
			t.Error("what the gateway speaks is known before the search is over")
		}
		after(time.Second)
		if want := (Services{Searched: true}); c.Services() != want {
			t.Errorf("the gateway speaks %+v", c.Services())
		}
		wantMapping(t, "without an answer", c, none())
		r.set(func(r *router) { r.pcp = true })
		after(10 * time.Second)
		wantMapping(t, "when the gateway has started", c, outside)
	})
}

func TestSearchesAreRare(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.upnp = 1
		r.web = func(*http.Request) (int, string) { r.requests = append(r.requests, "web"); return 404, "" }
		start(c)
		after(time.Hour)
		r.took()
		after(time.Hour)
		if n := len(r.took()); n == 0 || n > 12 {
			t.Errorf("%d requests in an hour", n)
		}
	})
}

func TestNoTargetNoRequests(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.pcp = true
		c.SetGateway(gate, self)
		after(time.Hour)
		c.SetGateway(netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2"))
		c.SetPort(port)
		after(time.Hour)
		c.SetGateway(netip.Addr{}, netip.Addr{})
		after(time.Hour)
		if got := r.took(); len(got) != 0 {
			t.Errorf("requests without a gateway of IPv4, or a port: %q", got)
		}
		start(c)
		after(time.Millisecond)
		wantMapping(t, "with both", c, outside)
	})
}

func TestRenewedAtHalfLifetime(t *testing.T) {
	for name, tt := range map[string]struct {
		router func(*router)
		want   string
	}{
		"PCP":     {func(r *router) { r.pcp = true }, "PCP map 41641 for 7200"},
		"NAT-PMP": {func(r *router) { r.natpmp = true }, "NAT-PMP map 41641 for 7200"},
		"UPnP":    {func(r *router) { r.upnp = 1 }, "UPnP AddPortMapping"},
	} {
		t.Run(name, func(t *testing.T) {
			behind(t, func(t *testing.T, r *router, c *Client) {
				tt.router(r)
				start(c)
				after(time.Second)
				r.took()
				after(58 * time.Minute)
				if got := r.took(); slices.Contains(got, tt.want) || len(got) == 0 || len(got) > 10 {
					t.Errorf("in the first hour: %q, want checks only", got)
				}
				after(2 * time.Minute)
				if got := r.took(); !slices.Contains(got, tt.want) {
					t.Errorf("after an hour: %q, want a renewal", got)
				}
				after(100 * time.Hour)
				wantMapping(t, "after days", c, outside)
			})
		})
	}
}

func TestShortLifetimes(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.pcp, r.lifetime = true, time.Second
		start(c)
		after(time.Second)
		r.took()
		after(time.Hour)
		if n := len(r.took()); n > 60 {
			t.Errorf("%d requests in an hour: a gateway can make us work", n)
		}
	})
}

func TestRestartedGateway(t *testing.T) {
	for name, speaks := range map[string]func(*router){
		"PCP":     func(r *router) { r.pcp = true },
		"NAT-PMP": func(r *router) { r.natpmp = true },
		"UPnP":    func(r *router) { r.upnp = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			behind(t, func(t *testing.T, r *router, c *Client) {
				speaks(r)
				start(c)
				after(time.Second)
				<-c.Changed()
				r.restart()
				after(checkEvery + time.Second)
				if len(r.mapped()) != 1 {
					t.Error("ten minutes later the mapping is not made again")
				}
				r.restart()
				r.set(func(r *router) { r.external = netip.MustParseAddr("198.51.100.1") })
				c.SetGateway(gate, self)
				after(time.Second)
				wantMapping(t, "when told to look", c, netip.MustParseAddrPort("198.51.100.1:41641"))
				if len(r.mapped()) != 1 {
					t.Error("when told to look the mapping is not made again")
				}
				select {
				case <-c.Changed():
				default:
					t.Error("Changed says nothing of the new address")
				}
			})
		})
	}
}

func TestNewAddressOutside(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.natpmp = true
		start(c)
		after(time.Second)
		r.set(func(r *router) { r.external = netip.MustParseAddr("198.51.100.1") })
		after(checkEvery)
		wantMapping(t, "after a check", c, netip.MustParseAddrPort("198.51.100.1:41641"))
	})
}

func TestSilentGateway(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.pcp = true
		start(c)
		after(time.Second)
		r.set(func(r *router) { r.silent = true })
		after(time.Hour + 50*time.Minute)
		wantMapping(t, "before its time is over", c, outside)
		after(20 * time.Minute)
		wantMapping(t, "after its time", c, none())
		r.set(func(r *router) { r.silent = false })
		after(maxPause)
		wantMapping(t, "with the gateway back", c, outside)
	})
}

// TestAMappingIsKnownAgain has a gateway that keeps mappings, and gives them
// to nobody but their owner, while we believe it gone.
func TestAMappingIsKnownAgain(t *testing.T) {
	t.Run("silence", func(t *testing.T) {
		behind(t, func(t *testing.T, r *router, c *Client) {
			r.pcp = true
			start(c)
			after(time.Second)
			r.set(func(r *router) { r.silent = true })
			after(checkEvery + time.Minute)
			r.set(func(r *router) { r.silent = false })
			after(maxPause)
			wantMapping(t, "after a silence", c, outside)
			r.took()
			after(checkEvery)
			if got := r.took(); len(got) != 1 {
				t.Errorf("after a silence: %q, want one check", got)
			}
		})
	})
	t.Run("another network", func(t *testing.T) {
		behind(t, func(t *testing.T, r *router, c *Client) {
			r.pcp = true
			start(c)
			after(time.Second)
			r.set(func(r *router) { r.silent = true }) // we are gone before we could say so
			c.SetGateway(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.7"))
			after(time.Minute)
			r.set(func(r *router) { r.silent = false })
			c.SetGateway(gate, self)
			after(time.Second)
			wantMapping(t, "back again", c, outside)
		})
	})
}

func TestRefusedRenewal(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.pcp = true
		start(c)
		after(time.Second)
		r.set(func(r *router) { r.refuse = 2 })
		after(time.Hour + time.Minute)
		wantMapping(t, "after a refusal", c, none())
		r.set(func(r *router) { r.refuse = 0 })
		after(maxPause)
		wantMapping(t, "after a change of mind", c, outside)
	})
}

func TestAnotherPort(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.pcp = true
		start(c)
		after(time.Second)
		c.SetPort(5000)
		after(time.Second)
		wantMapping(t, "for another port", c, netip.MustParseAddrPort("203.0.113.9:5000"))
		if got := r.mapped(); len(got) != 1 || !got[5000].IsValid() {
			t.Errorf("the router has mappings %v", got)
		}
		c.SetPort(0)
		after(time.Second)
		wantMapping(t, "for no port", c, none())
		if got := r.mapped(); len(got) != 0 {
			t.Errorf("the router has mappings %v", got)
		}
	})
}

func TestAnotherGateway(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.pcp = true
		start(c)
		after(time.Second)
		c.SetGateway(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.7"))
		after(5 * time.Second)
		wantMapping(t, "behind one that does not answer", c, none())
		c.SetGateway(gate, self)
		after(2 * time.Second)
		wantMapping(t, "behind the first again", c, outside)
	})
}

func TestOnlyTheGatewayIsBelieved(t *testing.T) {
	liar := netip.MustParseAddr("192.168.1.66")
	for name, reply := range map[string]func(netip.AddrPort, []byte) (netip.AddrPort, []byte){
		"from another address": func(from netip.AddrPort, b []byte) (netip.AddrPort, []byte) {
			return netip.AddrPortFrom(liar, from.Port()), b
		},
		"from another port": func(from netip.AddrPort, b []byte) (netip.AddrPort, []byte) {
			return netip.AddrPortFrom(from.Addr(), 7), b
		},
		"with another nonce": func(from netip.AddrPort, b []byte) (netip.AddrPort, []byte) {
			if len(b) == pcpHeaderSize+pcpMapSize {
				b[24]++
			}
			return from, b
		},
		"for another port": func(from netip.AddrPort, b []byte) (netip.AddrPort, []byte) {
			if len(b) == pcpHeaderSize+pcpMapSize {
				b[41]++
			}
			return from, b
		},
		"with nonsense": func(from netip.AddrPort, b []byte) (netip.AddrPort, []byte) { return from, b[:len(b)/2] },
		"with an address that is none": func(from netip.AddrPort, b []byte) (netip.AddrPort, []byte) {
			if len(b) == pcpHeaderSize+pcpMapSize {
				clear(b[56:])
			}
			return from, b
		},
	} {
		t.Run(name, func(t *testing.T) {
			behind(t, func(t *testing.T, r *router, c *Client) {
				r.pcp, r.reply = true, reply
				start(c)
				after(time.Minute)
				wantMapping(t, "by an answer "+name, c, none())
			})
		})
	}
}

func TestCloseWaitsForASecondAtMost(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.pcp = true
		start(c)
		after(time.Second)
		r.set(func(r *router) { r.silent = true })
		before := time.Now()
		c.Close()
		if took := time.Since(before); took > removeTimeout {
			t.Errorf("Close took %v", took)
		}
	})
}

// TestCloseWhileUPnPMaps has a gateway that maps at once, and takes its time to
// say so.
func TestCloseWhileUPnPMaps(t *testing.T) {
	for name, taken := range map[string]netip.AddrPort{
		"ours":      {},
		"another's": netip.MustParseAddrPort("192.168.1.99:1"),
	} {
		for when := time.Duration(0); when < 4*time.Second; when += 100 * time.Millisecond {
			behind(t, func(t *testing.T, r *router, c *Client) {
				r.upnp, r.permanent, r.slowWeb = 1, true, 400*time.Millisecond
				want := 0
				if taken.IsValid() {
					r.mappings[port] = taken
					want = 1
				}
				start(c)
				after(when)
				before := time.Now()
				c.Close()
				if took := time.Since(before); took > removeTimeout {
					t.Errorf("Close took %v", took)
				}
				after(5 * time.Second)
				if got := r.mapped(); len(got) != want || got[port] != taken {
					t.Errorf("%s, closed after %v: the router has mappings %v", name, when, got)
				}
			})
		}
	}
}

func TestCloseAtAnyMoment(t *testing.T) {
	for _, when := range []time.Duration{0, time.Microsecond, 100 * time.Millisecond, 300 * time.Millisecond, 450 * time.Millisecond, time.Second} {
		behind(t, func(t *testing.T, r *router, c *Client) {
			r.pcp, r.delay = true, 200*time.Millisecond
			start(c)
			after(when)
			c.Close()
			after(time.Second)
			if got := r.mapped(); len(got) != 0 {
				t.Errorf("closed after %v, mappings are left: %v", when, got)
			}
			c.Close()
			start(c) // has no effect
		})
	}
}

// TestErrorsWhileWaiting has a system report that what we sent to one port was
// refused, and that what somebody sent is too large.
func TestErrorsWhileWaiting(t *testing.T) {
	for n, want := range map[int]netip.AddrPort{maxFailures: outside, maxFailures + 1: none()} {
		behind(t, func(t *testing.T, r *router, c *Client) {
			r.upnp = 1
			r.failures = n
			start(c)
			after(time.Second)
			wantMapping(t, "in spite of errors", c, want)
		})
	}
}

// TestNothingIsLeftByWhatFails has a gateway that speaks NAT-PMP, but does not
// tell its address.
func TestNothingIsLeftByWhatFails(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.natpmp = true
		asked := 0
		r.reply = func(from netip.AddrPort, b []byte) (netip.AddrPort, []byte) {
			if b[1] == natpmpResponse|natpmpAddress {
				if asked++; asked > 1 { // the search is answered
					b[3] = 3
				}
			}
			return from, b
		}
		start(c)
		after(time.Second)
		wantMapping(t, "without an address", c, none())
		if got := r.mapped(); len(got) != 0 {
			t.Errorf("the router has mappings %v", got)
		}
	})
}

func TestSocketsThatCannotBeOpened(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.pcp, r.listenFailed = true, errors.New("no network")
		start(c)
		after(time.Second)
		r.set(func(r *router) { r.listenFailed = nil })
		after(10 * time.Second)
		wantMapping(t, "with the network back", c, outside)
	})
}

func TestUPnPConflict(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.upnp = 1
		r.mappings[port] = netip.MustParseAddrPort("192.168.1.99:1")
		start(c)
		after(time.Second)
		got := c.Mapping()
		if got.Addr() != r.external || got.Port() == port || r.mapped()[got.Port()] != netip.AddrPortFrom(self, port) {
			t.Errorf("with our port taken the mapping is %v, of %v", got, r.mapped())
		}
		after(5 * time.Hour)
		wantMapping(t, "renewed", c, got)
	})
}

func TestUPnPPermanentMappings(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.upnp, r.permanent = 1, true
		start(c)
		after(time.Second)
		wantMapping(t, "without an end", c, outside)
		c.Close()
		if got := r.mapped(); len(got) != 0 {
			t.Errorf("mappings are left: %v", got)
		}
	})
}

func TestUPnPRenewalThatIsAConflict(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.upnp, r.jealous = 1, true
		start(c)
		after(10 * time.Hour)
		wantMapping(t, "after hours", c, outside)
		if got := r.mapped(); len(got) != 1 {
			t.Errorf("the router has mappings %v", got)
		}
	})
}

// TestUPnPMappingsAreNotLeftBehind has a gateway that gave us another port than
// our own fall silent, until our own is free.
func TestUPnPMappingsAreNotLeftBehind(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.upnp, r.permanent = 1, true
		r.mappings[port] = netip.MustParseAddrPort("192.168.1.99:1")
		start(c)
		after(time.Second)
		before := c.Mapping()
		r.set(func(r *router) { r.silent = true })
		after(checkEvery + 10*time.Second)
		wantMapping(t, "silent", c, before)
		r.set(func(r *router) {
			r.silent = false
			delete(r.mappings, port)
		})
		after(maxPause)
		wantMapping(t, "again", c, outside)
		if got := r.mapped(); len(got) != 1 || !got[port].IsValid() {
			t.Errorf("the router has mappings %v", got)
		}
	})
}

func TestUPnPSpeaksToTheGatewayOnly(t *testing.T) {
	for name, change := range map[string]func(*router){
		"location elsewhere":        func(r *router) { r.location = "http://203.0.113.66/rootDesc.xml" },
		"location with a name":      func(r *router) { r.location = "http://router.example/rootDesc.xml" },
		"control elsewhere":         func(r *router) { r.description = exampleDescription(wanIP1, "http://203.0.113.66/ctl") },
		"redirected":                func(r *router) { r.web = func(*http.Request) (int, string) { return 302, "" } },
		"redirected from the start": func(r *router) { r.web = func(*http.Request) (int, string) { return 301, "" } },
		"every answer is HTML": func(r *router) {
			r.web = func(q *http.Request) (int, string) { return map[string]int{"GET": 0, "POST": 200}[q.Method], "<html>" }
		},
		"endless": func(r *router) {
			huge := strings.Repeat("<a/>", maxDescription)
			r.web = func(*http.Request) (int, string) { return 200, huge }
		},
		"no address outside": func(r *router) { r.external = netip.IPv4Unspecified() },
	} {
		t.Run(name, func(t *testing.T) {
			behind(t, func(t *testing.T, r *router, c *Client) {
				r.upnp = 1
				change(r)
				start(c)
				after(time.Minute)
				wantMapping(t, name, c, none())
				for _, addr := range r.dialed {
					if !strings.HasPrefix(addr, "tcp4 192.168.1.1:") {
						t.Errorf("we connected to %s", addr)
					}
				}
			})
		})
	}
}

func TestUPnPDeviceThatHangs(t *testing.T) {
	behind(t, func(t *testing.T, r *router, c *Client) {
		r.upnp = 1
		r.web = func(q *http.Request) (int, string) {
			r.mu.Unlock()
			time.Sleep(time.Hour)
			r.mu.Lock()
			return 200, ""
		}
		start(c)
		after(time.Minute)
		wantMapping(t, "meanwhile", c, none())
		before := time.Now()
		c.Close()
		if took := time.Since(before); took > removeTimeout {
			t.Errorf("Close took %v", took)
		}
		after(2 * time.Hour)
	})
}
