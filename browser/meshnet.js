// A node of a mesh in this page. See meshnet.d.ts for what everything does.
//
//   import { up } from "./meshnet.js"
//   const node = await up({ controlURL: "https://mesh.example.com", authKey, hostname: "page" })
//   const response = await node.fetch("http://web/")
//
// The node runs in a worker, so that it never keeps the page waiting.

import { duplex } from "./stream.js"

// How long the page before this one may take to let go of the node's keys.
const patience = 5000

// up joins the mesh.
export async function up(options) {
  const node = new Node(options)
  try {
    node.closed.then(await claim(options.store))
    await node.start()
  } catch (error) {
    await node.close()
    throw error
  }
  return node
}

// claim waits until no other page is the node of the same store: two that are
// one node would take the relay from each other. It returns what gives it back.
async function claim(store = "meshnet") {
  if (!store || !navigator.locks) return () => {}
  let release
  const held = new Promise((resolve) => { release = resolve })
  await new Promise((resolve, reject) => {
    navigator.locks
      .request(`meshnet:${store}`, { signal: AbortSignal.timeout(patience) }, () => {
        resolve()
        return held
      })
      .catch(() => reject(failure({ message: "another page of this browser is the node", code: "in-use" })))
  })
  return release
}

function failure({ message, code, url }) {
  const error = new Error(message)
  error.name = "MeshnetError"
  if (code) error.code = code
  if (url) error.url = url
  return error
}

class Node {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module", name: "meshnet" })
  #options
  #calls = new Map() // by their number, what settles the promise
  #lastCall = 0
  #listeners = new Map() // by their number
  #loaded
  #status = null
  #watchers = new Set()
  #end

  constructor(options) {
    this.#options = options
    this.closed = new Promise((resolve) => { this.#end = resolve })
    this.#worker.onmessage = ({ data }) => ("id" in data ? this.#answer(data) : this.#event(data))
    this.#worker.onerror = (event) => this.#stop(failure({ message: event.message || "the worker does not start" }))
    this.#loaded = this.#call("load", [String(options.wasm ?? new URL("meshnet.wasm", import.meta.url))])
    this.#loaded.catch(() => {}) // start tells
  }

  async start() {
    const { wasm, store = "meshnet", signal, onProgress, onLogin, onLog, ...rest } = this.#options
    const stop = () => this.close()
    signal?.throwIfAborted()
    signal?.addEventListener("abort", stop)
    try {
      await this.#loaded
      this.#status = await this.#call("up", [{
        ...rest,
        controlURL: String(new URL(rest.controlURL ?? "/", location.href)).replace(/\/$/, ""),
        store: store || "",
        ephemeral: rest.ephemeral ?? !store,
        onLogin: Boolean(onLogin),
        onLog: Boolean(onLog),
      }])
    } finally {
      signal?.removeEventListener("abort", stop)
    }
  }

  #call(method, args, transfer = []) {
    const id = ++this.#lastCall
    return new Promise((resolve, reject) => {
      if (!this.#worker) throw failure({ message: "the node is closed", code: "closed" })
      this.#calls.set(id, { resolve, reject })
      const port = transfer[0]
      this.#worker.postMessage({ id, method, args, port }, transfer)
    })
  }

  #answer({ id, result, error }) {
    const call = this.#calls.get(id)
    this.#calls.delete(id)
    if (error) call?.reject(failure(error))
    else call?.resolve(result)
  }

  #event(data) {
    switch (data.event) {
      case "status":
        this.#status = data.status
        for (const tell of this.#watchers) tell()
        break
      case "connection":
      case "request":
        this.#listeners.get(data.listener)?.take(data)
        break
      case "closed":
        this.#listeners.get(data.listener)?.end()
        this.#listeners.delete(data.listener)
        break
      case "progress":
        this.#options.onProgress?.(data)
        break
      case "login":
        this.#options.onLogin?.(data.url)
        break
      case "log":
        this.#options.onLog?.(data.line)
        break
      case "exit":
        this.#stop(failure({ message: "the node has ended" }))
    }
  }

  #stop(error) {
    this.#worker?.terminate()
    this.#worker = null
    for (const call of this.#calls.values()) call.reject(error)
    this.#calls.clear()
    for (const listener of this.#listeners.values()) listener.end()
    this.#listeners.clear()
    for (const tell of this.#watchers) tell()
    this.#end()
  }

  // open makes a call that opens a stream, and returns it with the promise of an
  // answer.
  #open(method, args) {
    const { port1, port2 } = new MessageChannel()
    const answer = this.#call(method, args, [port2])
    return { streams: duplex(port1), answer }
  }

  async fetch(input, init) {
    const request = new Request(input, init)
    const signal = request.signal
    signal.throwIfAborted()
    const body = request.body ?? (await bytesOf(request))
    const { streams, answer } = this.#open("fetch", [{
      method: request.method,
      url: request.url,
      headers: [...request.headers],
      redirect: request.redirect,
      hasBody: Boolean(body),
    }])
    const stop = () => {
      streams.readable.cancel(signal.reason).catch(() => {})
      streams.writable.abort(signal.reason).catch(() => {})
    }
    signal.addEventListener("abort", stop)
    send(body, streams.writable)
    let head
    try {
      head = await Promise.race([answer, aborted(signal)])
    } catch (error) {
      streams.readable.cancel().catch(() => {})
      throw error.name === "MeshnetError" ? new TypeError(error.message, { cause: error }) : error
    }
    return responseOf(head, streams.readable)
  }

  async dial(network, address) {
    const { streams, answer } = this.#open("dial", [network, address])
    return connection(await answer, streams)
  }

  async listen(network, address) {
    const { id, local } = await this.#call("listen", [network, address])
    const listener = new Listener(local, () => this.#call("close", [id]), ({ one, port }) => connection(one, duplex(port)))
    this.#listeners.set(id, listener)
    return listener
  }

  async serve(address, handler) {
    const { id, local } = await this.#call("serve", [address])
    const server = {
      local,
      close: () => this.#call("close", [id]),
      take: (event) => this.#respond(event, handler),
      end: () => {},
    }
    this.#listeners.set(id, server)
    return { local, close: server.close }
  }

  async #respond({ one, port }, handler) {
    const { readable, writable } = duplex(port)
    try {
      const hasBody = one.hasBody && one.method !== "GET" && one.method !== "HEAD"
      const request = new Request(one.url, { method: one.method, headers: one.headers, body: hasBody ? readable : null, duplex: "half" })
      const response = await handler(request, { remote: one.remote })
      await this.#call("respond", [one.id, { status: response.status, headers: [...response.headers] }])
      if (response.body) await response.body.pipeTo(writable)
      else await writable.close()
    } catch (error) {
      const failed = this.#call("respond", [one.id, { status: 500, headers: [] }]).then(() => writable.close())
      await failed.catch(() => writable.abort(error)).catch(() => {})
      reportError(error)
    }
  }

  status() { return this.#call("status", []) }
  ping(name) { return this.#call("ping", [name]) }
  whoIs(address) { return this.#call("whoIs", [address]) }

  async *watch() {
    let told
    let wake
    const tell = () => wake?.()
    this.#watchers.add(tell)
    try {
      while (this.#worker) {
        if (told !== this.#status) yield (told = this.#status)
        else await new Promise((resolve) => { wake = resolve })
      }
    } finally {
      this.#watchers.delete(tell)
    }
  }

  async close() {
    if (!this.#worker) return
    await Promise.race([this.#call("close", [0]).catch(() => {}), new Promise((resolve) => setTimeout(resolve, 2000))])
    this.#stop(failure({ message: "the node is closed", code: "closed" }))
  }

  [Symbol.asyncDispose]() { return this.close() }
}

// bytesOf returns the body of a request where browsers do not show it as a stream.
async function bytesOf(request) {
  if (request.method === "GET" || request.method === "HEAD") return null
  const bytes = await request.arrayBuffer()
  return bytes.byteLength > 0 ? bytes : null
}

async function send(body, writable) {
  try {
    if (body instanceof ReadableStream) {
      await body.pipeTo(writable)
      return
    }
    const writer = writable.getWriter()
    if (body) await writer.write(body)
    await writer.close()
  } catch {
    // The response says what went wrong.
  }
}

function aborted(signal) {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
}

function responseOf(head, body) {
  const bodiless = [101, 204, 205, 304].includes(head.status)
  if (bodiless) body.cancel().catch(() => {})
  const response = new Response(bodiless ? null : body, { status: head.status, statusText: head.statusText, headers: head.headers })
  Object.defineProperties(response, { url: { value: head.url }, redirected: { value: head.redirected } })
  return response
}

function connection({ local, remote }, { readable, writable }) {
  return {
    readable,
    writable,
    local,
    remote,
    async close() {
      const quietly = (promise) => promise.catch(() => {})
      await Promise.all([
        writable.locked ? undefined : quietly(writable.abort("closed")),
        readable.locked ? undefined : quietly(readable.cancel("closed")),
      ])
    },
  }
}

// A Listener is an async iterable of connections.
class Listener {
  #waiting = []
  #wake = null
  #over = false
  #close
  #connect

  constructor(local, close, connect) {
    this.local = local
    this.#close = close
    this.#connect = connect
  }

  take(event) {
    this.#waiting.push(this.#connect(event))
    this.#wake?.()
  }

  end() {
    this.#over = true
    this.#wake?.()
  }

  close() { return this.#close() }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      while (this.#waiting.length > 0) yield this.#waiting.shift()
      if (this.#over) return
      await new Promise((resolve) => { this.#wake = resolve })
    }
  }
}
