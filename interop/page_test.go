package interop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	meshpage "github.com/meshnet-go/meshnet/examples/browser/page"
)

// program is the node for web pages, compiled once.
var program = sync.OnceValues(func() (*meshpage.Program, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return meshpage.Build(ctx, "..")
})

// servePage serves the page of examples/browser, whose node joins a tailnet. The
// coordinator is of another origin; servers are others that the page may reach.
func servePage(t testing.TB, n *ownTailnet, relays *derpmap.Map, authKey string, servers ...string) (address string) {
	t.Helper()
	built, err := program()
	check(t, "the node for pages compiles", err)
	server := httptest.NewUnstartedServer(nil)
	control, err := url.Parse(n.controlURL)
	check(t, "the coordinator has a URL", err)
	servers = append(servers, control.Host)
	for _, region := range relays.Regions {
		servers = append(servers, fmt.Sprintf("%s:%d", region.Nodes[0].HostName, region.Nodes[0].DERPPort))
	}
	handler, err := meshpage.Handler(meshpage.Config{
		Program: built,
		Servers: servers,
		Hosts:   []string{server.Listener.Addr().String()},
		Node:    meshpage.Node{ControlURL: n.controlURL, AuthKey: authKey, Hostname: "page"},
	})
	check(t, "the page is served", err)
	server.Config.Handler = handler
	server.Start()
	t.Cleanup(func() { closeServer(server) })
	return server.URL
}

// serveToPages has a node serve what the page asks for: HTTP, and lines that come
// back.
func serveToPages(t *testing.T, n *meshnetNode) {
	t.Helper()
	web, err := n.Listen("tcp", ":80")
	check(t, "the node serves HTTP", err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello from the mesh")
	})}
	go server.Serve(web)
	lines, err := n.Listen("tcp", ":23")
	check(t, "the node takes lines", err)
	go func() {
		for {
			nc, err := lines.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				for scanner := bufio.NewScanner(nc); scanner.Scan(); {
					fmt.Fprintf(nc, "you say %s\n", strings.ToUpper(scanner.Text()))
				}
			}()
		}
	}()
	t.Cleanup(func() {
		server.Close()
		lines.Close()
	})
}

// complaints collects what the browser's console has of errors.
func (b *browser) complaints() func() []string {
	var mu sync.Mutex
	var all []string
	chromedp.ListenTarget(b.ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch event := event.(type) {
		case *runtime.EventExceptionThrown:
			all = append(all, event.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if event.Type == runtime.APITypeError {
				all = append(all, fmt.Sprint(event.Args))
			}
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// longTasks notes what keeps pages from answering for more than 50 ms.
const longTasks = `window.longTasks = []
new PerformanceObserver((list) => { for (const e of list.getEntries()) longTasks.push(Math.round(e.duration)) })
	.observe({ type: "longtask", buffered: true })`

// says waits until an element of the page has a text in it.
func says(selector, text string) chromedp.Action {
	return chromedp.Poll(fmt.Sprintf("document.querySelector(%q).textContent.includes(%q)", selector, text), nil)
}

var isUp = chromedp.WaitVisible("#state.running")

// A person opens the page, and it is a node among others.
func TestPageInChromium(t *testing.T) {
	relays, restart := ourRestartingRelay(t)
	for name, relays := range map[string]*derpmap.Map{"our relay": relays, "their relay": convert[derpmap.Map](t, theirRelay(t))} {
		t.Run(name, func(t *testing.T) {
			tailnet := ourTailnetOn(t, relays, restart)
			testPage(t, tailnet, relays, strings.ReplaceAll(name, " ", "-"))
		})
	}
}

func testPage(t *testing.T, n *ownTailnet, relays *derpmap.Map, name string) {
	web := n.startMeshnet(t, "web")
	serveToPages(t, web)
	ts1 := n.startTsnet(t, "ts1")
	address := servePage(t, n, relays, n.newAuthKey(t, coord.AuthKeyOptions{Reusable: true}))

	person := newBrowser(t)
	complaints := person.complaints()
	person.does(t, "the page joins the mesh",
		chromedp.ActionFunc(func(ctx context.Context) error {
			_, err := cdppage.AddScriptToEvaluateOnNewDocument(longTasks).Do(ctx)
			return err
		}),
		chromedp.Navigate(address), isUp, says("#name", "page."+n.suffix))
	var addresses, took string
	person.does(t, "the page has addresses", chromedp.Text("#addresses", &addresses), chromedp.Text("#up-after", &took))
	t.Logf("up after %s", took)

	person.does(t, "it fetches from the mesh", chromedp.Click("#fetch button"), says("#response", "hello from the mesh"), says("#took", "200 OK"))
	person.does(t, "a person types in its terminal", chromedp.SendKeys("#line", "good morning\r"), says("#screen", "you say GOOD MORNING"))

	t.Run("others open its web server", func(t *testing.T) {
		person.does(t, "the person writes a page", chromedp.SetValue("#content", "written by hand"))
		for _, visitor := range []interface {
			node
			HTTPClient() *http.Client
		}{web, ts1} {
			eventually(t, visitor.host()+" opens it", func(ctx context.Context) error {
				return opens(ctx, visitor.HTTPClient(), "http://page."+n.suffix+"/from/"+visitor.host(), "written by hand\n")
			})
			person.does(t, "the person sees the visitor", says("#visitors", visitor.host()+"  GET /from/"+visitor.host()))
		}
	})

	person.does(t, "the picture has all", says("#picture", "web"), says("#picture", "ts1"), says("#picture", "relay r1, "))
	person.picture(t, name)
	person.fits(t, 375, 812)
	person.picture(t, name+"-phone")
	person.does(t, "it is dark", emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
	person.whole(t, name+"-phone-dark")
	person.fits(t, 1200, 800)
	person.whole(t, name+"-dark")

	t.Run("reloaded, it is the same node", func(t *testing.T) {
		person.does(t, "the page is loaded again", chromedp.Reload(), isUp, says("#addresses", addresses))
		person.does(t, "it still fetches", chromedp.Click("#fetch button"), says("#response", "hello from the mesh"))
		equal(t, "how many nodes the coordinator knows", len(n.coord().Nodes()), 3)
	})

	if name == "our-relay" {
		t.Run("the relay restarts", func(t *testing.T) {
			n.restartRelay()
			eventually(t, "the page is reached again", func(ctx context.Context) error {
				return opens(ctx, web.HTTPClient(), "http://page/", "Hello from inside a browser tab.\n")
			})
			person.does(t, "it fetches again", chromedp.Click("#fetch button"), says("#response", "hello from the mesh"))
		})
	}

	var blocked []int
	person.does(t, "the page tells what kept it busy", chromedp.Evaluate("longTasks", &blocked))
	t.Logf("the page was busy for longer than 50 ms: %v", blocked)
	equal(t, "what the console says", strings.Join(complaints(), "\n"), "")
}

// opens fetches a page.
func opens(ctx context.Context, client *http.Client, url, want string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != want {
		err = fmt.Errorf("it says %q", body)
	}
	return err
}

// whole keeps a picture of all of the page.
func (b *browser) whole(t *testing.T, name string) {
	t.Helper()
	var png []byte
	b.does(t, "the page is pictured", chromedp.FullScreenshot(&png, 100))
	check(t, "the picture is kept", os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), png, 0o644))
}
