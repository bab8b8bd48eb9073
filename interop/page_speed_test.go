package interop

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"github.com/meshnet-go/meshnet/coord"
)

// speedBytes is what is carried each way.
const speedBytes = 64 << 20

// speedScript measures in a page, in milliseconds and Mbit/s: the node, and a
// plain WebSocket. Nothing but it runs there.
const speedScript = `(async () => {
	const total = %d, part = 64 * 1024
	const mbits = (start) => total * 8 / 1000 / (performance.now() - start)
	const figures = {}
	await new Promise((resolve) => setTimeout(resolve, 500))
	const busy = []
	new PerformanceObserver((list) => { for (const e of list.getEntries()) busy.push(Math.round(e.duration)) }).observe({ entryTypes: ["longtask"] })

	const { up } = await import("/meshnet.js")
	const config = await (await fetch("/page.json")).json()
	let start = performance.now()
	const node = await up({ ...config.node, hostname: "bench", store: false })
	figures.up = performance.now() - start
	start = performance.now()
	await (await node.fetch("http://web/first")).text()
	figures.first = performance.now() - start
	start = performance.now()
	const second = await node.fetch("http://web/first")
	await second.text()
	figures.next = performance.now() - start

	start = performance.now()
	let got = 0
	for await (const chunk of (await node.fetch("http://web/down")).body) got += chunk.byteLength
	if (got !== total) throw new Error("came: " + got)
	figures.down = mbits(start)
	start = performance.now()
	let left = total
	const body = new ReadableStream({
		pull(controller) {
			if (left === 0) return controller.close()
			controller.enqueue(new Uint8Array(Math.min(part, left)))
			left -= Math.min(part, left)
		},
	})
	const said = await (await node.fetch("http://web/up", { method: "POST", body, duplex: "half" })).text()
	if (said !== String(total)) throw new Error("went: " + said)
	figures.up_ = mbits(start)
	await node.close()

	const plain = async (path, each) => {
		const ws = new WebSocket(%q + path)
		ws.binaryType = "arraybuffer"
		await new Promise((resolve, reject) => { ws.onopen = resolve; ws.onerror = reject })
		start = performance.now()
		await each(ws)
		const speed = mbits(start)
		ws.close()
		return speed
	}
	figures.plainDown = await plain("/down", (ws) => new Promise((resolve) => {
		let got = 0
		ws.onmessage = ({ data }) => { if ((got += data.byteLength) === total) resolve() }
	}))
	figures.plainUp = await plain("/up", (ws) => new Promise((resolve) => {
		ws.onmessage = resolve
		let left = total
		const more = () => {
			for (; left > 0 && ws.bufferedAmount < 1 << 20; left -= part) ws.send(new Uint8Array(part))
			if (left > 0) setTimeout(more, 1)
		}
		more()
	}))
	figures.busy = busy
	return figures
})()`

// TestPageSpeed measures a node in a page, and fails when it does not work: how
// fast it is depends on what else the machine does.
func TestPageSpeed(t *testing.T) {
	relays, restart := ourRestartingRelay(t)
	n := ourTailnetOn(t, relays, restart)
	web := n.startMeshnet(t, "web")
	ln, err := web.Listen("tcp", ":80")
	check(t, "the node serves HTTP", err)
	server := &http.Server{Handler: http.HandlerFunc(serveSpeed)}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	plain := httptest.NewServer(http.HandlerFunc(plainWebSocket))
	t.Cleanup(func() { closeServer(plain) })
	host := strings.TrimPrefix(plain.URL, "http://")
	address := servePage(t, n, relays, n.newAuthKey(t, coord.AuthKeyOptions{Reusable: true}), host)

	person := newBrowser(t)
	var figures struct {
		Up, First, Next, Down, PlainDown, PlainUp float64
		Busy                                      []int
		UpSpeed                                   float64 `json:"up_"`
	}
	person.does(t, "an empty page is opened", chromedp.Navigate(address+"/page.json"))
	check(t, "the page measures", chromedp.Run(person.ctx, chromedp.Evaluate(fmt.Sprintf(speedScript, speedBytes, "ws://"+host), &figures,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) })))
	t.Logf("up after %.0f ms; first byte of the first fetch after %.0f ms, of the next after %.0f ms", figures.Up, figures.First, figures.Next)
	t.Logf("from the mesh %.0f Mbit/s, to it %.0f Mbit/s; a plain WebSocket %.0f and %.0f", figures.Down, figures.UpSpeed, figures.PlainDown, figures.PlainUp)
	t.Logf("the page was busy for longer than 50 ms: %v", figures.Busy)
}

func serveSpeed(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/first":
		io.WriteString(w, "hello")
	case "/down":
		io.CopyN(w, zeros{}, speedBytes)
	case "/up":
		n, err := io.Copy(io.Discard, r.Body)
		if err == nil {
			fmt.Fprint(w, n)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// plainWebSocket carries as much, in messages of 64 KiB.
func plainWebSocket(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	message := make([]byte, 64<<10)
	ws.SetReadLimit(int64(len(message)))
	for range speedBytes / len(message) {
		if r.URL.Path == "/down" {
			err = ws.Write(r.Context(), websocket.MessageBinary, message)
		} else {
			_, _, err = ws.Read(r.Context())
		}
		if err != nil {
			return
		}
	}
	if r.URL.Path == "/up" {
		ws.Write(r.Context(), websocket.MessageText, []byte("done"))
	}
	ws.Read(r.Context()) // until the page closes it
}
