package interop

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	meshbrowser "github.com/meshnet-go/meshnet/browser"
	"github.com/meshnet-go/meshnet/coord"
)

// scriptHelp is what scripts of pages begin with.
const scriptHelp = `
	const check = (what, good) => { if (!good) throw new Error("not so: " + what) }
	const within = (what, promise) => Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error("never: " + what)), 5000))])
	const failure = (what, promise) => within(what, promise).then(() => { throw new Error("succeeded: " + what) }, (error) => {
		if (error.message.startsWith("never: ")) throw error
		return error
	})
	const drain = async (reader) => { while (!(await reader.read()).done); }
`

// runs runs the body of an async function in the page.
func (b *browser) runs(t *testing.T, script string) {
	t.Helper()
	b.does(t, "the script finds all as it should be", chromedp.Evaluate("(async () => {"+scriptHelp+script+"\n})()", nil,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
}

// Streams between a page and its worker, without either.
func TestPageStreams(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(meshbrowser.Files))
	mux.HandleFunc("/{$}", func(http.ResponseWriter, *http.Request) {})
	files := httptest.NewServer(mux)
	t.Cleanup(func() { closeServer(files) })
	person := newBrowser(t)
	person.does(t, "a page is opened", chromedp.Navigate(files.URL))
	const pair = `
		const { duplex } = await import("/stream.js")
		const { port1, port2 } = new MessageChannel()
		let over = 0
		const near = duplex(port1, () => over++), far = duplex(port2, () => over++)
		const full = async (writer) => { // more than fits, so that the last write waits
			for (let i = 0; i < 7; i++) await writer.write(new Uint8Array(64 << 10))
			return writer.write(new Uint8Array(64 << 10))
		}
	`
	for name, script := range map[string]string{
		"both ends close": `
			const sent = new Blob(["abc"]).stream().pipeTo(near.writable)
			check("it comes", await new Response(far.readable).text() === "abc")
			await far.writable.close()
			check("nothing comes back", await new Response(near.readable).text() === "")
			await within("it is over", (async () => { while (over === 0) await new Promise((r) => setTimeout(r)) })())`,
		"a writer who waits aborts": `
			const writer = near.writable.getWriter()
			full(writer).catch(() => {})
			await new Promise((r) => setTimeout(r, 100))
			await within("abort", writer.abort(new Error("enough")))
			const error = await failure("reading", drain(far.readable.getReader()))
			check("the reader knows why", error.message === "enough")`,
		"the reader leaves a writer who waits": `
			const written = full(near.writable.getWriter()).catch(() => {})
			await far.readable.cancel()
			await within("the write is over", written)`,
		"locked streams fail": `
			const reading = near.readable.getReader().read()
			const writer = near.writable.getWriter()
			near.fail(new Error("enough"))
			check("the reader knows", (await failure("reading", reading)).message === "enough")
			check("the writer knows", (await failure("writing", writer.write("a"))).message === "enough")
			check("the other end knows", (await failure("reading there", far.readable.getReader().read())).message === "enough")
			await failure("writing there", far.writable.getWriter().closed)
			check("both ends are over", over === 2)`,
		"what is no bytes": `check("a TypeError", await failure("writing", near.writable.getWriter().write({})) instanceof TypeError)`,
	} {
		t.Run(name, func(t *testing.T) { person.runs(t, pair+script) })
	}
}

// What the module promises to pages, beside what the page of TestPageInChromium
// needs.
func TestPageModule(t *testing.T) {
	relays, restart := ourRestartingRelay(t)
	n := ourTailnetOn(t, relays, restart)
	web := n.startMeshnet(t, "web")
	ln, err := web.Listen("tcp", ":80")
	check(t, "the node serves HTTP", err)
	server := &http.Server{Handler: oddities(web.HTTPClient())}
	go server.Serve(ln)
	silent, err := web.Listen("tcp", ":9")
	check(t, "the node takes connections", err)
	go discard(silent)
	datagrams, err := web.ListenPacket("udp", ":7")
	check(t, "the node takes datagrams", err)
	go answerTwice(datagrams)
	t.Cleanup(func() {
		server.Close()
		silent.Close()
		datagrams.Close()
	})
	address := servePage(t, n, relays, n.newAuthKey(t, coord.AuthKeyOptions{Reusable: true}))
	person := newBrowser(t)
	complaints := person.complaints()
	person.does(t, "an empty page is opened", chromedp.Navigate(address+"/page.json"))
	person.runs(t, `
		const { up } = await import("/meshnet.js")
		window.config = { ...(await (await fetch("/page.json")).json()).node, hostname: "module" }
		window.node = await up(config)
		window.visit = async (url) => (await node.fetch("http://web/visit?" + url)).text()`)
	for _, test := range []struct{ name, script string }{
		{"headers are bytes", `
			const response = await node.fetch("http://web/latin1", { headers: { "X-Sent": "\u00e9" } })
			check("the value", response.headers.get("X-Name") === "\u00ff\u00e9")`},
		{"a status that no response has", `check("a TypeError", await failure("fetch", node.fetch("http://web/status")) instanceof TypeError)`},
		{"redirects", `
			const response = await node.fetch("http://web/redirect")
			check("it is followed", response.redirected && response.url === "http://web/latin1")
			check("by hand", (await node.fetch("http://web/redirect", { redirect: "manual" })).status === 302)
			check("error", await failure("fetch", node.fetch("http://web/redirect", { redirect: "error" })) instanceof TypeError)`},
		{"a fetch is aborted while its body comes", `
			const giveUp = new AbortController()
			const response = await node.fetch("http://web/endless", { signal: giveUp.signal })
			const reader = response.body.getReader()
			await reader.read()
			giveUp.abort()
			check("an AbortError", (await failure("reading", drain(reader))).name === "AbortError")
			const ended = async () => { while (await (await node.fetch("http://web/running")).text() !== "0"); }
			await within("the server's handler ends", ended())`},
		{"a connection is closed while others hold its streams", `
			const conn = await node.dial("tcp", "web:9")
			const reading = conn.readable.getReader().read()
			const writer = conn.writable.getWriter()
			await writer.write("hello")
			await conn.close()
			await failure("reading", reading)
			await failure("writing", writer.write("more"))`},
		{"who cancels reading writes no more", `
			const conn = await node.dial("tcp", "web:9")
			const writer = conn.writable.getWriter()
			await conn.readable.cancel()
			await failure("the writer", within("writing fails", writer.closed))`},
		{"a handler that fails", `
			const quiet = (event) => event.preventDefault()
			addEventListener("error", quiet)
			const answers = [() => { throw new Error("no") }, () => "no Response", () => Response.error()]
			const server = await node.serve(":8080", (request) => answers[new URL(request.url).pathname.slice(1)]())
			for (const i in answers) check("500 of " + i, await visit("module:8080/" + i) === "500")
			await server.close()
			check("it is closed", await visit("module:8080/0") === "failed")
			removeEventListener("error", quiet)`},
		{"a listener that is closed ends", `
			const listener = await node.listen("tcp", ":8081")
			const accepted = (async () => { for await (const conn of listener) await conn.close() })()
			check("a connection that is closed", await visit("module:8081/") === "failed")
			await listener.close()
			await within("the loop ends", accepted)`},
		{"an empty datagram is no end", `
			const conn = await node.dial("udp", "web:7")
			await conn.writable.getWriter().write("hello")
			const { value } = await within("the next datagram", conn.readable.getReader().read())
			check("its text", new TextDecoder().decode(value) === "hello")
			await conn.close()`},
		{"another page of the same store", `
			const { up } = await import("/meshnet.js")
			check("in-use", (await up(config).catch((error) => error)).code === "in-use")`},
		{"whoever gives up", `
			const { up } = await import("/meshnet.js")
			const reason = new Error("enough")
			const giveUp = new AbortController()
			setTimeout(() => giveUp.abort(reason), 200)
			check("the reason", await failure("up", up({ ...config, signal: giveUp.signal })) === reason)`},
		{"a node that is closed ends all", `
			const response = await node.fetch("http://web/endless")
			const listener = await node.listen("tcp", ":8082")
			const accepted = (async () => { for await (const _ of listener); })()
			const conn = await node.dial("tcp", "web:9")
			const reading = failure("reading", conn.readable.getReader().read())
			await within("it is closed", node.close())
			await failure("the body", response.text())
			await reading
			await within("the listener ends", accepted)
			check("closed", (await failure("status", node.status())).code === "closed")`},
	} {
		t.Run(test.name, func(t *testing.T) { person.runs(t, test.script) })
	}
	equal(t, "what the console says", strings.Join(complaints(), "\n"), "")
}

// oddities is what web servers may answer. /visit asks, by the client.
func oddities(client *http.Client) http.Handler {
	var running atomic.Int32 // of /endless
	mux := http.NewServeMux()
	mux.HandleFunc("/latin1", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Name", "\xff"+r.Header.Get("X-Sent")) })
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(799) })
	mux.Handle("/redirect", http.RedirectHandler("/latin1", http.StatusFound))
	mux.HandleFunc("/running", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, running.Load()) })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Add(-1)
		io.Copy(w, zeros{})
	})
	mux.HandleFunc("/visit", func(w http.ResponseWriter, r *http.Request) {
		resp, err := client.Get("http://" + r.URL.RawQuery)
		if err != nil {
			io.WriteString(w, "failed")
			return
		}
		resp.Body.Close()
		fmt.Fprint(w, resp.StatusCode)
	})
	return mux
}

// discard reads what comes, and says nothing.
func discard(ln net.Listener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer nc.Close()
			io.Copy(io.Discard, nc)
		}()
	}
}

// answerTwice answers datagrams, with nothing first.
func answerTwice(pc net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		pc.WriteTo(nil, from)
		pc.WriteTo(buf[:n], from)
	}
}
