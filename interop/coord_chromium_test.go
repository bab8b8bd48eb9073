package interop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"tailscale.com/ipn/store/mem"
	"tailscale.com/tsnet"
)

// A browser is one that a person sits at, with cookies of its own.
type browser struct {
	ctx context.Context
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(findChromium(t)), chromedp.NoSandbox,
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE "+loopback), chromedp.WindowSize(1200, 800))
	ctx, stop := chromedp.NewExecAllocator(within(t, 90*time.Second), options...)
	ctx, end := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		chromedp.Cancel(ctx)
		end()
		stop()
	})
	check(t, "the browser starts", chromedp.Run(ctx)) // by this context: it ends with the one that starts it
	return &browser{ctx}
}

// does has a person do things, one after the other.
func (b *browser) does(t *testing.T, what string, actions ...chromedp.Action) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		var page string
		chromedp.Run(b.ctx, chromedp.Text("body", &page))
		t.Fatalf("not so: %s: %v; the page says:\n%s", what, err, page)
	}
}

// text returns what the page says.
func (b *browser) text(t *testing.T) (text string) {
	t.Helper()
	b.does(t, "there is a page", chromedp.Text("body", &text, chromedp.ByQuery))
	return text
}

// picture keeps what the browser shows, for those who want to look at it.
func (b *browser) picture(t *testing.T, name string) {
	t.Helper()
	var png []byte
	b.does(t, "the page is pictured", chromedp.CaptureScreenshot(&png))
	check(t, "the picture is kept", os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), png, 0o644))
}

// fits fails the test when a person has to push the page sideways.
func (b *browser) fits(t *testing.T, width, height int64) {
	t.Helper()
	var beside int
	b.does(t, "the window has another size", chromedp.EmulateViewport(width, height),
		chromedp.Evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth", &beside))
	equal(t, fmt.Sprintf("how much of the page is beside a window of %d", width), beside, 0)
}

// startWaiting starts a node of Tailscale's that has no key, and returns the page
// that it wants a person to open.
func (n *tailnet) startWaiting(t *testing.T, hostname string) (page string, node *tsnetNode) {
	t.Helper()
	log := newLog(t, hostname)
	server := &tsnet.Server{Hostname: hostname, ControlURL: n.controlURL, Dir: t.TempDir(), Store: new(mem.Store), Ephemeral: true, Logf: log.printf, UserLogf: log.printf}
	check(t, hostname+" starts", server.Start())
	t.Cleanup(func() { check(t, hostname+" closes", server.Close()) })
	client, err := server.LocalClient()
	check(t, hostname+" has a local client", err)
	eventually(t, hostname+" waits for a person", func(ctx context.Context) error {
		status, err := client.StatusWithoutPeers(ctx)
		if err == nil && status.AuthURL == "" {
			err = errors.New(status.BackendState)
		}
		if err == nil {
			page = status.AuthURL
		}
		return err
	})
	return page, &tsnetNode{server, client}
}

// admitted reports why a node is not in the mesh.
func (n *tsnetNode) admitted(ctx context.Context) error {
	status, err := n.local.StatusWithoutPeers(ctx)
	if err == nil && status.BackendState != "Running" {
		err = errors.New(status.BackendState)
	}
	return err
}

// An administrator at a browser lets a real node in, which nobody else can, and
// sees how the nodes talk to each other.
func TestAdministratorInChromium(t *testing.T) {
	tailnet := ourTailnet(t)
	secret, err := tailnet.coord().ResetAdminSecret(t.Context())
	check(t, "there is a secret", err)
	page, ts1 := tailnet.startWaiting(t, "ts1")

	t.Run("who has the page's address can approve nothing", func(t *testing.T) {
		stranger := newBrowser(t)
		stranger.does(t, "the page asks for the secret", chromedp.Navigate(page), chromedp.WaitVisible("#secret"))
		if text := stranger.text(t); strings.Contains(text, "Approve\n") || strings.Contains(text, "Reject") {
			t.Errorf("a stranger sees %s", text)
		}
		stranger.does(t, "a wrong secret is refused", chromedp.SendKeys("#secret", "guessed\r"), chromedp.WaitVisible(`[role="alert"]`))
		resp, err := http.PostForm(page, url.Values{"decision": {"approve"}})
		check(t, "a form is sent", err)
		resp.Body.Close()
		equal(t, "whether the node waits still", ts1.admitted(t.Context()) != nil, true)
	})

	admin := newBrowser(t)
	admin.does(t, "the administrator signs in", chromedp.Navigate(page), chromedp.WaitVisible("#secret"),
		chromedp.SendKeys("#secret", secret+"\r"), chromedp.WaitVisible(`button[value="approve"]`))
	admin.picture(t, "login")
	admin.fits(t, 390, 844)
	admin.picture(t, "login-phone")
	admin.fits(t, 1200, 800)

	t.Run("another site cannot approve in the administrator's name", func(t *testing.T) {
		trap := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `<body><form method="post" action="%s"><input name="decision" value="approve"></form><script>document.forms[0].submit()</script>`, page)
		}))
		defer closeServer(trap)
		admin.does(t, "the trap is opened", chromedp.Navigate(trap.URL))
		eventually(t, "the form is sent", func(context.Context) error {
			var at string
			admin.does(t, "the browser is somewhere", chromedp.Location(&at))
			if at != page {
				return errors.New("the browser is at " + at)
			}
			return nil
		})
		equal(t, "whether the node waits still", ts1.admitted(t.Context()) != nil, true)
	})

	admin.does(t, "the administrator approves", chromedp.Navigate(page), chromedp.Click(`button[value="approve"]`),
		chromedp.WaitVisible(`//h1[text()="Approved"]`))
	eventually(t, "the node is in the mesh", ts1.admitted)

	t.Run("paths", func(t *testing.T) {
		mesh1 := tailnet.startMeshnet(t, "mesh1")
		awaitPeers(t, tailnet.suffix, ts1, mesh1)
		admin.does(t, "the path becomes known while the page is open", chromedp.Navigate(tailnet.controlURL+"/admin/paths"),
			chromedp.WaitVisible("svg line.direct"), chromedp.WaitVisible("td .state.direct"))
		text := admin.text(t)
		for _, want := range []string{"mesh1", "ts1", "1 direct", " ms"} {
			if !strings.Contains(text, want) {
				t.Errorf("the page has no %q:\n%s", want, text)
			}
		}
		admin.picture(t, "paths")
		admin.fits(t, 390, 844)
		admin.picture(t, "paths-phone")
		admin.fits(t, 1200, 800)
		admin.does(t, "a node's page is a click away", chromedp.Click(`td a[href$="/admin/node/1"]`), chromedp.WaitVisible("dl"))
		admin.picture(t, "node")
	})
}
