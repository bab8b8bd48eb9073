package meshnet

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/psk"
	"github.com/meshnet-go/meshnet/key"
)

// A Pair joins two Servers, and no others, by a token that one of them makes and
// the other gets on a way of its own: a message, a QR code, an argument. There
// is no coordinator and there are no accounts; what both need is a relay, through
// which they find each other and go on where there is no direct path.
//
//	pair, err := meshnet.NewPair(relay)
//	host := &meshnet.Server{Pair: pair}
//	_, err = host.Up(ctx) // a guest that is quicker waits for five seconds
//	fmt.Println(pair.Token())
//
//	pair, err := meshnet.ParsePair(token)    // in the other program
//	guest := &meshnet.Server{Pair: pair}
//	conn, err := guest.Dial(ctx, "tcp", "host:80")
//
// The one that made the pair is called "host", the other "guest". Each may
// connect to whatever the other listens on. The token is a secret: who has it can
// be the guest, but not the host, whose private key is not in it. If two
// programs use it at the same time, relays send to the one that came last.
//
// A pair lasts as long as the host's program. Its sessions have a WireGuard
// preshared key, made of the token's secret; with [Server.PostQuantum] each has
// one of its own.
type Pair struct {
	relay  *derpmap.Region
	secret [sha256.Size]byte
	host   key.NodePublic
	own    key.NodePrivate // the host's or the guest's
}

// NewPair makes a pair whose host this program is. The relay is one that lets
// both in; [derpmap.Region] says how it is described, and `meshnet relay` prints
// the description of the one that it serves.
func NewPair(relay *derpmap.Region) (*Pair, error) {
	relay, err := checkRelay(relay)
	if err != nil {
		return nil, fmt.Errorf("the relay of a pair: %w", err)
	}
	p := &Pair{relay: relay, own: key.NewNode()}
	p.host = p.own.Public()
	rand.Read(p.secret[:])
	return p, nil
}

// ParsePair reads the token of a pair, whose guest this program then is.
func ParsePair(token string) (*Pair, error) {
	p, err := parseToken(strings.TrimSpace(token))
	if err != nil {
		return nil, fmt.Errorf("the token of a pair: %w", err)
	}
	p.own = p.guestKey()
	return p, nil
}

// String tells nothing of the secrets. Format sees to it that %v and its like
// do not, either.
func (p Pair) String() string { return "[pair]" }

// Format implements [fmt.Formatter].
func (p Pair) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// isHost reports whether this program made the pair.
func (p *Pair) isHost() bool { return p.own.Public() == p.host }

// other is the key of the other program.
func (p *Pair) other() key.NodePublic {
	if p.isHost() {
		return p.guestKey().Public()
	}
	return p.host
}

func (p *Pair) guestKey() key.NodePrivate { return key.NodePrivateFromRaw32(p.derive("guest")) }

// discos are the disco keys of this program and the other. Both know both: what
// disco keeps out is strangers.
func (p *Pair) discos() (own key.DiscoPrivate, other key.DiscoPublic) {
	host, guest := key.DiscoPrivateFromRaw32(p.derive("host disco")), key.DiscoPrivateFromRaw32(p.derive("guest disco"))
	if p.isHost() {
		return host, guest.Public()
	}
	return guest, host.Public()
}

func (p *Pair) presharedKey() psk.Key { return psk.Key(p.derive("preshared key")) }

// derive makes a secret of the pair's, for one purpose.
func (p *Pair) derive(purpose string) [32]byte {
	info := p.host.AppendRaw([]byte("meshnet pair 1 " + purpose + " "))
	raw, err := hkdf.Key(sha256.New, p.secret[:], nil, string(info), sha256.Size)
	if err != nil {
		panic(err) // only a length that is too large is an error
	}
	return [32]byte(raw)
}

// A token is text:
//
//	"meshpair1." base64url of
//	  secret   32
//	  host     32   node key
//	  relay         JSON
//	  sum       4   of SHA-256 of the above
//
// The sum finds letters that were lost or changed on the way.
const (
	tokenPrefix = "meshpair1."
	tokenSum    = 4

	// maxToken bounds the text that is looked at, and maxTokenRelays the relays
	// of the region.
	maxToken       = 4 << 10
	maxTokenRelays = 4
)

// Token is what the other program needs. It is a secret.
func (p *Pair) Token() string {
	raw := p.host.AppendRaw(p.secret[:len(p.secret):len(p.secret)])
	relay, err := json.Marshal(regionOf(p.relay))
	if err != nil {
		panic(err) // it is strings and numbers
	}
	raw = append(raw, relay...)
	sum := sha256.Sum256(raw)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(raw, sum[:tokenSum]...))
}

func parseToken(token string) (*Pair, error) {
	digits, ok := strings.CutPrefix(token, tokenPrefix)
	switch {
	case !ok:
		return nil, fmt.Errorf("it does not begin with %q", tokenPrefix)
	case len(digits) > maxToken:
		return nil, errors.New("it is too long")
	}
	raw, err := base64.RawURLEncoding.DecodeString(digits)
	if err != nil || len(raw) < sha256.Size+key.Size+tokenSum {
		return nil, errTokenDamaged
	}
	raw, sum := raw[:len(raw)-tokenSum], raw[len(raw)-tokenSum:]
	if want := sha256.Sum256(raw); !bytes.Equal(sum, want[:tokenSum]) {
		return nil, errTokenDamaged
	}
	p := new(Pair)
	raw = raw[copy(p.secret[:], raw):]
	p.host = key.NodePublicFromRaw32([key.Size]byte(raw))
	var region tokenRegion
	if err := json.Unmarshal(raw[key.Size:], &region); err != nil {
		return nil, fmt.Errorf("its relay: %w", err)
	}
	if p.relay, err = checkRelay(region.region()); err != nil {
		return nil, fmt.Errorf("its relay: %w", err)
	}
	return p, nil
}

var errTokenDamaged = errors.New("it is damaged: characters are missing or were changed")

// tokenRegion is a relay region in a token, and tokenRelay one of its relays.
type tokenRegion struct {
	ID     int          `json:"i"`
	Code   string       `json:"c,omitempty"`
	Relays []tokenRelay `json:"r"`
}

type tokenRelay struct {
	Host     string `json:"h"`
	Cert     string `json:"c,omitempty"`
	IPv4     string `json:"4,omitempty"`
	IPv6     string `json:"6,omitempty"`
	Port     int    `json:"p,omitempty"`
	STUNPort int    `json:"s,omitempty"`
	Insecure bool   `json:"x,omitempty"`
}

func regionOf(r *derpmap.Region) tokenRegion {
	region := tokenRegion{ID: r.RegionID, Code: r.RegionCode}
	for _, n := range r.Nodes {
		region.Relays = append(region.Relays, tokenRelay{n.HostName, n.CertName, n.IPv4, n.IPv6, n.DERPPort, n.STUNPort, n.InsecureForTests})
	}
	return region
}

func (t tokenRegion) region() *derpmap.Region {
	r := &derpmap.Region{RegionID: t.ID, RegionCode: t.Code, RegionName: t.Code}
	for i, n := range t.Relays {
		r.Nodes = append(r.Nodes, &derpmap.Node{
			Name: fmt.Sprint(t.ID, "-", i), RegionID: t.ID, HostName: n.Host, CertName: n.Cert, IPv4: n.IPv4, IPv6: n.IPv6,
			DERPPort: n.Port, STUNPort: n.STUNPort, InsecureForTests: n.Insecure,
		})
	}
	return r
}

// checkRelay returns the part of a region that a pair uses.
func checkRelay(r *derpmap.Region) (*derpmap.Region, error) {
	if r == nil {
		return nil, errors.New("there is none")
	}
	t := regionOf(&derpmap.Region{RegionID: r.RegionID, RegionCode: r.RegionCode})
	for _, n := range r.Nodes {
		if n != nil && !n.STUNOnly {
			t.Relays = append(t.Relays, regionOf(&derpmap.Region{Nodes: []*derpmap.Node{n}}).Relays...)
		}
	}
	if t.ID == 0 {
		t.ID = 1
	}
	switch {
	case t.ID < 0 || t.ID > 1<<16-1:
		return nil, fmt.Errorf("its region has the number %d, which is not from 1 to 65535", t.ID)
	case len(t.Relays) == 0:
		return nil, errors.New("its region has no relay")
	case len(t.Relays) > maxTokenRelays:
		return nil, fmt.Errorf("its region has %d relays; a token has room for %d", len(t.Relays), maxTokenRelays)
	}
	for _, n := range t.Relays {
		if n.Host == "" || n.Port < 0 || n.Port > 1<<16-1 || n.STUNPort < -1 || n.STUNPort > 1<<16-1 {
			return nil, fmt.Errorf("the relay %q, port %d, STUN port %d makes no sense", n.Host, n.Port, n.STUNPort)
		}
	}
	return t.region(), nil
}
