// The worker of meshnet.js: it runs the node, and does what the page asks of it.
//
//   { id, method, args, port }  →  { id, result } or { id, error }
//   { event, … }                ←  what the node tells unasked

import "./wasm_exec.js"
import { duplex } from "./stream.js"

self.onmessage = async ({ data: { id, method, args, port } }) => {
  try {
    self.postMessage({ id, result: await methods[method](...args, port) })
  } catch (error) {
    self.postMessage({ id, error: { message: error?.message ?? String(error), code: error?.code, url: error?.url } })
  }
}

// node calls the Go program.
const node = (method, ...args) => self.meshnet(method, ...args)
const tell = (event, more) => self.postMessage({ event, ...more })

const methods = {
  async load(url) {
    const go = new Go()
    go.exit = (code) => tell("exit", { code })
    const program = await compile(await fetch(url))
    const instance = await WebAssembly.instantiate(program, go.importObject)
    go.run(instance).then(() => tell("exit", { code: 0 }))
  },

  up: (options) => node("up", {
    ...options,
    onStatus: (status) => tell("status", { status }),
    onLogin: options.onLogin && ((url) => tell("login", { url })),
    onLog: options.onLog && ((line) => tell("log", { line })),
  }),

  status: () => node("status"),
  ping: (name) => node("ping", name),
  whoIs: (addr) => node("whoIs", addr),
  close: (id) => node("close", id),

  async dial(network, addr, port) {
    const conn = await node("dial", network, addr)
    join(conn.id, port)
    return conn
  },

  async listen(network, addr) {
    const listener = await node("listen", network, addr)
    accept(listener.id, "connection")
    return listener
  },

  async serve(addr) {
    const web = await node("serve", addr)
    accept(web.id, "request")
    return web
  },

  respond: (id, head) => node("respond", id, head),

  async fetch(request, port) {
    const { id } = await node("fetch", request)
    join(id, port)
    return { id, ...await node("head", id) }
  },
}

// compile compiles while the program is still on its way, and tells how much of
// it has come.
async function compile(response) {
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${response.statusText}`)
  const total = Number(response.headers.get("X-Content-Length") ?? response.headers.get("Content-Length") ?? 0)
  let loaded = 0
  const counted = response.body.pipeThrough(new TransformStream({
    transform(chunk, controller) {
      loaded += chunk.byteLength
      tell("progress", { loaded, total: Math.max(total, loaded) })
      controller.enqueue(chunk)
    },
  }))
  return WebAssembly.compileStreaming(new Response(counted, { headers: { "Content-Type": "application/wasm" } }))
}

// accept tells the page of what comes to a listener, until that is closed.
async function accept(listener, event) {
  for (;;) {
    let one
    try {
      one = await node("accept", listener)
    } catch (error) {
      tell("closed", { listener, error: error.message })
      return
    }
    if (one === null) break
    const { port1, port2 } = new MessageChannel()
    self.postMessage({ event, listener, one, port: port2 }, [port2])
    join(one.id, port1, event === "request")
  }
  tell("closed", { listener })
}

// join carries bytes between a stream of the node's and the page, until both
// directions have ended, or for an answer when that has.
async function join(id, port, isAnswer) {
  const page = duplex(port)
  const incoming = new ReadableStream({
    async pull(controller) {
      const bytes = await node("read", id)
      if (bytes) controller.enqueue(bytes)
      else controller.close()
    },
    cancel: () => isAnswer ? undefined : node("close", id),
  }, { highWaterMark: 0 })
  const outgoing = new WritableStream({
    write: (bytes) => node("write", id, bytes),
    close: () => node("closeWrite", id),
    abort: () => node("close", id),
  })
  const rest = new AbortController()
  const coming = incoming.pipeTo(page.writable, { signal: rest.signal })
  await page.readable.pipeTo(outgoing).catch(() => {})
  if (isAnswer) rest.abort("the request is answered")
  await coming.catch(() => {})
  node("close", id)
}
