package main

// software is something that is compared.
type software struct {
	name  string // its node is the program peers/name
	infra string // its infrastructure is the program infra/infra; empty if it needs none
}

func (s software) called() string { return s.name }

// relays reports whether it goes on through a relay where there is no direct path.
func (s software) relays() bool { return s.infra != "" }

var everySoftware = []software{
	{"meshnet", "meshnet"},
	{"tsnet", "tailscale"},
	{"wireguard", ""},
	{"nebula", ""},
	{"kernel", ""},
}

func only(list []software, ok func(software) bool) (some []software) {
	for _, s := range list {
		if ok(s) {
			some = append(some, s)
		}
	}
	return some
}
