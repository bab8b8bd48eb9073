// Package browser has what a node needs in a web page.
//
// The same [github.com/meshnet-go/meshnet.Server] that runs anywhere else runs
// there, compiled for js/wasm. It has no sockets, only WebSockets: to a
// coordinator that takes them (coord does, Headscale and Tailscale do) and to
// relays. Its peers notice no difference but that there is never a direct path.
// A program for a page keeps the node's keys with [NewStore]:
//
//	store, err := browser.NewStore("my-node")
//	…
//	srv := &meshnet.Server{Hostname: "page", ControlURL: "https://mesh.example.com", Store: store}
//
// Pages in JavaScript or TypeScript need no Go: [Files] is a module for them,
// and the program browser/node is the node that it runs in a worker, so that the
// page never waits for it.
//
//	import { up } from "./meshnet.js"
//	const node = await up({ controlURL: "https://mesh.example.com", authKey, hostname: "page" })
//	const response = await node.fetch("http://web/")
//
// See examples/browser for a whole page, and meshnet.d.ts for the module.
package browser

import "embed"

// Files is what a web server serves to pages, beside the program, meshnet.wasm,
// and the wasm_exec.js of the Go that made it:
//
//	GOOS=js GOARCH=wasm go build -trimpath -ldflags="-s -w" -o meshnet.wasm github.com/meshnet-go/meshnet/browser/node
//	cp "$(go env GOROOT)/lib/wasm/wasm_exec.js" .
//
// (examples/browser/page has flags with which it gets smaller still.)
//
//	meshnet.js    the module that a page imports; meshnet.d.ts are its types
//	worker.js     runs the program
//	stream.js     streams between the two
//
//go:embed meshnet.js meshnet.d.ts worker.js stream.js
var Files embed.FS
