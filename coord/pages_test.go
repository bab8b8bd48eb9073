package coord

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// browser opens pages as people do.
type browser struct {
	t      *testing.T
	client *http.Client
	path   string // of the last page, after redirects
	text   string // of the last page
}

func (ts *testServer) browser() *browser {
	jar, _ := cookiejar.New(nil)
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return ts.dial() }}
	return &browser{t: ts.t, client: &http.Client{Transport: tr, Jar: jar}}
}

func (b *browser) do(req *http.Request, err error) int {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	b.path, b.text = resp.Request.URL.Path, string(text)
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || resp.Header.Get("X-Frame-Options") != "DENY" {
		b.t.Errorf("%s is served with %v", b.path, resp.Header)
	}
	return resp.StatusCode
}

func (b *browser) open(path string) int {
	b.t.Helper()
	return b.do(http.NewRequest("GET", "http://coord"+path, nil))
}

// send sends a form, with the token of the last page, from the site origin.
func (b *browser) send(path, origin string, form url.Values) int {
	b.t.Helper()
	if token := regexp.MustCompile(`name="token" value="([^"]*)"`).FindStringSubmatch(b.text); token != nil && !form.Has("token") {
		form.Set("token", token[1])
	}
	req, err := http.NewRequest("POST", "http://coord"+path, strings.NewReader(form.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", origin)
	}
	return b.do(req, err)
}

const ownSite = "http://coord"

func (b *browser) shows(what string, texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if !strings.Contains(b.text, text) {
			b.t.Errorf("%s: %s does not show %q:\n%s", what, b.path, text, b.text)
		}
	}
}

func TestLoginPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		secret, err := ts.AdminSecret(t.Context())
		if again, errAgain := ts.AdminSecret(t.Context()); err != nil || secret == "" || errAgain != nil || again != "" {
			t.Fatalf("the secret is %q and then %q, %v, %v", secret, again, err, errAgain)
		}
		if _, err := ts.CreateUser(t.Context(), UserOptions{Login: "alice"}); err != nil {
			t.Fatal(err)
		}
		m := ts.machine()
		req := request(m.node, "Bob's <b>laptop</b>", "")
		req.Hostinfo.OS, req.Hostinfo.RequestTags = "linux", []string{"tag:web"}
		req.Followup = m.register(req).AuthURL
		u, _ := url.Parse(req.Followup)
		admitted := make(chan tailcfg.RegisterResponse, 1)
		go func() { admitted <- m.register(req) }()

		b := ts.browser()
		if code := b.open(u.Path); code != 200 || b.path != "/admin/signin" || strings.Contains(b.text, "laptop") || strings.Contains(b.text, m.key.Public().String()) {
			t.Errorf("a stranger is shown %d %s", code, b.text)
		}
		b.shows("a stranger", "An administrator", "Having the address is not enough")
		if code := b.send(u.Path, ownSite, url.Values{"decision": {"approve"}, "user": {"alice"}}); b.path != "/admin/signin" || code != 200 {
			t.Errorf("a stranger approves: %d %s", code, b.path)
		}
		if code := b.send("/admin/signin", ownSite, url.Values{"secret": {"mkadmin-WRONG"}, "back": {u.Path}}); code != 403 {
			t.Errorf("a wrong secret: %d", code)
		}
		if code := b.send("/admin/signin", "http://evil.example", url.Values{"secret": {secret}}); code != 403 {
			t.Errorf("signing in from another site: %d", code)
		}
		if code := b.send("/admin/signin", ownSite, url.Values{"secret": {secret}, "back": {u.Path}}); code != 200 || b.path != u.Path {
			t.Fatalf("signed in: %d %s", code, b.path)
		}
		b.shows("the administrator", "Bob&#39;s &lt;b&gt;laptop&lt;/b&gt;", "linux", "tag:web", m.key.Public().String(), "<option>alice</option>")
		form := func() url.Values { return url.Values{"decision": {"approve"}, "user": {"alice"}} }
		forged := form()
		forged.Set("token", "x")
		if code := b.send(u.Path, ownSite, forged); code != 403 {
			t.Errorf("a form without its token: %d", code)
		}
		b.open(u.Path)
		if code := b.send(u.Path, "http://evil.example", form()); code != 403 {
			t.Errorf("a form of another site: %d", code)
		}
		synctest.Wait()
		if n := len(ts.Nodes()); n != 0 {
			t.Fatalf("%d nodes before anything was approved", n)
		}
		b.open(u.Path)
		if code := b.send(u.Path, ownSite, form()); code != 200 {
			t.Errorf("approved: %d %s", code, b.text)
		}
		b.shows("approved", "Approved")
		if resp := <-admitted; !resp.MachineAuthorized {
			t.Errorf("the node is told %+v", resp)
		}
		if n := ts.Nodes()[0]; n.User != "alice" || len(n.Tags) != 1 {
			t.Errorf("admitted: %+v", n)
		}
		if code := b.open(u.Path); code != 404 {
			t.Errorf("the page once it is decided: %d", code)
		}

		if _, err := ts.ResetAdminSecret(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.open("/admin/"); b.path != "/admin/signin" {
			t.Errorf("after another secret was made the old session shows %s", b.path)
		}
	})
}

func TestRejectPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		b := ts.signedIn()
		m := ts.machine()
		url1 := m.register(request(m.node, "x", "")).AuthURL
		u, _ := url.Parse(url1)
		b.open(u.Path)
		if code := b.send(u.Path, ownSite, url.Values{"decision": {"reject"}}); code != 200 || !strings.Contains(b.text, "Rejected") {
			t.Errorf("rejected: %d %s", code, b.text)
		}
		if resp := m.register(request(m.node, "x", "")); resp.AuthURL == url1 || resp.MachineAuthorized {
			t.Errorf("the node is told %+v", resp)
		}
		b.send("/admin/signout", ownSite, url.Values{})
		if b.open("/admin/"); b.path != "/admin/signin" {
			t.Errorf("signed out, one sees %s", b.path)
		}
	})
}

// signedIn returns a browser of an administrator.
func (ts *testServer) signedIn() *browser {
	ts.t.Helper()
	secret, err := ts.ResetAdminSecret(ts.t.Context())
	if err != nil {
		ts.t.Fatal(err)
	}
	b := ts.browser()
	if code := b.send("/admin/signin", ownSite, url.Values{"secret": {secret}}); code != 200 || b.path != "/admin/" {
		ts.t.Fatalf("signing in: %d %s", code, b.path)
	}
	return b
}

func TestStatusPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{Policy: []byte(`{"tagOwners": {"tag:db": []}, "acls": [{"action": "accept", "src": ["user@"], "dst": ["tag:db:5432"], "proto": "tcp"}]}`)})
		b := ts.signedIn()
		b.shows("a tailnet without nodes", "No node has joined yet")
		web, db, other := ts.machine(), ts.machine(), ts.machine()
		web.join("web", ts.reusable(AuthKeyOptions{}))
		db.join("db", ts.reusable(AuthKeyOptions{Tags: []string{"tag:db"}}))
		other.join("other", ts.reusable(AuthKeyOptions{Tags: []string{"tag:other"}, Ephemeral: true}))
		db.report(tailcfg.MapRequest{
			DiscoKey:  key.NewDisco().Public(),
			Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:41641")},
			Hostinfo: &tailcfg.Hostinfo{Hostname: "db", OS: "plan9", RoutableIPs: []netip.Prefix{lan},
				NetInfo: &tailcfg.NetInfo{PreferredDERP: 1, DERPLatency: map[string]float64{"1-v4": 0.0123, "1-v6": 0.5, "x": 1}}},
		})
		s := db.stream("")
		s.frame("the first frame")
		waits := ts.machine()
		waits.register(request(waits.node, "waits", ""))

		b.open("/admin/")
		b.shows("all nodes", "web", "100.64.0.1", "tag:db", "192.168.7.0/24", "plan9", "waits", "a policy says which nodes may reach which", "http-equiv=\"refresh\"")
		b.open("/admin/?q=plan9")
		b.shows("a search for what is not searched", "No node matches")
		if b.open("/admin/?q=TAG:db"); strings.Contains(b.text, "100.64.0.1<") || !strings.Contains(b.text, "100.64.0.2") {
			t.Errorf("a search for a tag shows %s", b.text)
		}
		b.open("/admin/node/2")
		b.shows("a node", "192.0.2.7:41641", "12.3 ms", "<td>web</td><td>db:5432</td><td>TCP</td>", `/admin/node/1">web</a>`)
		if strings.Contains(b.text, ">other<") {
			t.Error("a node's page shows a peer that it does not see")
		}
		b.open("/admin/node/1")
		b.shows("a node that nobody may reach", "Nobody.")
		for _, path := range []string{"/admin/node/9", "/admin/node/x", "/login/x"} {
			if code := b.open(path); code != 404 {
				t.Errorf("%s: %d", path, code)
			}
		}
		time.Sleep(13 * time.Hour)
		if b.open("/admin/"); b.path != "/admin/signin" {
			t.Errorf("after 13 hours one still sees %s", b.path)
		}
	})
}

// headerAuth signs in whom a header names, as a proxy in front would.
type headerAuth struct{}

func (headerAuth) Administrator(r *http.Request) (string, bool) {
	name := r.Header.Get("X-User")
	return name, name == "alice"
}

func (headerAuth) SignIn(w http.ResponseWriter, r *http.Request, back string) {
	http.Error(w, "come back to "+back, http.StatusUnauthorized)
}

func TestAuthenticator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{Authenticator: headerAuth{}})
		secret, _ := ts.AdminSecret(t.Context())
		m := ts.machine()
		u, _ := url.Parse(m.register(request(m.node, "x", "")).AuthURL)
		b := ts.browser()
		if code := b.open(u.Path); code != 401 || !strings.Contains(b.text, "come back to "+u.Path) {
			t.Errorf("a stranger: %d %s", code, b.text)
		}
		if code := b.send("/admin/signin", ownSite, url.Values{"secret": {secret}}); code != 403 {
			t.Errorf("with the secret: %d", code)
		}
		req, err := http.NewRequest("GET", "http://coord"+u.Path, nil)
		req.Header.Set("X-User", "alice")
		if code := b.do(req, err); code != 200 {
			t.Errorf("the administrator: %d", code)
		}
		b.shows("the administrator", "alice", `name="token"`)
	})
}

// The page of paths finds out while it is looked at, and shows what it has found.
func TestPathsPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := serve(t, Config{})
		b := ts.signedIn()
		b.open("/admin/paths")
		b.shows("a tailnet without nodes", "There are no two nodes online")
		authKey := ts.reusable(AuthKeyOptions{})
		but3 := func(p *tailcfg.PingRequest) *tailcfg.PingResponse {
			if p.IP == netip.MustParseAddr("100.64.0.3") {
				return relayed(p)
			}
			return direct(p)
		}
		for _, how := range []func(*tailcfg.PingRequest) *tailcfg.PingResponse{but3, but3, relayed} {
			m := ts.machine()
			m.join("n", authKey)
			s := m.stream("zstd")
			s.frame("the first frame")
			m.answerAsks(s, how)
		}
		b.open("/admin/paths")
		b.shows("before anything is known", "3 not measured yet", "<svg", `http-equiv="refresh"`)
		time.Sleep(3 * surveyPatience)
		b.open("/admin/paths")
		time.Sleep(surveyPatience)
		b.open("/admin/paths")
		b.shows("the paths", "direct</strong>", "relayed</strong>", "192.0.2.1:41641", "20.0 ms", "90.0 ms", `<line class="direct"`, `<line class="relayed"`,
			`href="/admin/node/3"`, "0 not measured yet")
		b.open("/admin/node/1")
		b.shows("a node", "192.0.2.1:41641", "20.0 ms")
	})
}
