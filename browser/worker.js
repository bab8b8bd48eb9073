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
    const program = await compile(await fetch(url))
    const instance = await WebAssembly.instantiate(program, go.importObject)
    const over = () => tell("exit")
    go.run(instance).then(over, over)
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

  dial: (network, addr, port) => opened(port, async () => {
    const conn = await node("dial", network, addr)
    join(conn.id, port, both)
    return conn
  }),

  listen: (network, addr) => node("listen", network, addr),
  serve: (addr) => node("serve", addr),

  // accept returns a connection to a listener, or a request to a server; null
  // when that is closed.
  accept: (id, port) => opened(port, async () => {
    const one = await node("accept", id)
    if (one) join(one.id, port, "method" in one ? going : both)
    else port.close()
    return one
  }),

  respond: (id, head) => node("respond", id, head),

  fetch: (request, port) => opened(port, async () => {
    const { id } = await node("fetch", request)
    join(id, port, coming)
    return node("head", id)
  }),
}

// opened returns what open does, which is to join the port with something.
async function opened(port, open) {
  try {
    return await open()
  } catch (error) {
    port.close()
    throw error
  }
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

// What is joined is over when one of its directions has failed, or when these
// have ended: of a fetch that which brings the answer, of a request that which
// takes it there.
const [both, coming, going] = [["in", "out"], ["in"], ["out"]]

// join carries bytes between a stream of the node's and the page.
async function join(id, port, needed) {
  const page = duplex(port)
  const close = () => node("close", id).catch(() => {})
  const incoming = new ReadableStream({
    async pull(controller) {
      const bytes = await node("read", id)
      if (bytes) controller.enqueue(bytes)
      else controller.close()
    },
  }, { highWaterMark: 0 })
  const outgoing = new WritableStream({
    start: ({ signal }) => signal.addEventListener("abort", close), // a write may be under way
    write: (bytes) => node("write", id, bytes),
    close: () => node("closeWrite", id),
  })
  const pipes = { in: incoming.pipeTo(page.writable), out: page.readable.pipeTo(outgoing) }
  pipes.in.catch(() => {})
  pipes.out.catch(() => {})
  let reason = "it is over"
  await Promise.all(needed.map((way) => pipes[way])).catch((error) => { reason = error })
  page.fail(reason)
  close()
}
