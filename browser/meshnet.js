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
  const { signal } = options
  signal?.throwIfAborted()
  const node = new Node(options)
  const stop = () => node.close()
  signal?.addEventListener("abort", stop)
  try {
    node.closed.then(await claim(options.store, node.closed))
    await node.start()
  } catch (error) {
    await node.close()
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener("abort", stop)
  }
  return node
}

// claim waits until no other page is the node of the same store: two that are
// one node would take the relay from each other. It returns what gives it back,
// and gives up when the node is closed.
async function claim(store = "meshnet", closed) {
  if (!store || !navigator.locks) return () => {}
  const waiting = new AbortController()
  const late = setTimeout(() => waiting.abort(failure({ message: "another page of this browser is the node", code: "in-use" })), patience)
  closed.then(() => waiting.abort(isClosed()))
  try {
    return await new Promise((resolve, reject) => {
      const hold = () => new Promise((release) => resolve(release))
      navigator.locks.request(`meshnet:${store}`, { signal: waiting.signal }, hold)
        .catch((error) => reject(waiting.signal.aborted ? waiting.signal.reason : failure(error)))
    })
  } finally {
    clearTimeout(late)
  }
}

const isClosed = () => failure({ message: "the node is closed", code: "closed" })

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
  #streams = new Set() // that are not over
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
    await this.#loaded
    this.#status = await this.#call("up", [{
      ...rest,
      controlURL: String(new URL(rest.controlURL ?? "/", location.href)).replace(/\/$/, ""),
      store: store || "",
      ephemeral: rest.ephemeral ?? !store,
      onLogin: Boolean(onLogin),
      onLog: Boolean(onLog),
    }])
  }

  #call(method, args, transfer = []) {
    const id = ++this.#lastCall
    return new Promise((resolve, reject) => {
      if (!this.#worker) throw isClosed()
      const port = transfer[0]
      this.#worker.postMessage({ id, method, args, port }, transfer)
      this.#calls.set(id, { resolve, reject })
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
    for (const streams of this.#streams) streams.fail(error)
    for (const tell of this.#watchers) tell()
    this.#end()
  }

  // open makes a call that opens streams, and returns them with the promise of an
  // answer. Without one there are no streams.
  #open(method, args) {
    const { port1, port2 } = new MessageChannel()
    const streams = duplex(port1, () => this.#streams.delete(streams))
    this.#streams.add(streams)
    const answer = this.#call(method, args, [port2])
    answer.catch((error) => streams.fail(error))
    return { streams, answer }
  }

  // accept returns what comes to a listener or a server, null when that is closed.
  async #accept(id) {
    const { streams, answer } = this.#open("accept", [id])
    const one = await answer.catch((error) => {
      if (this.#worker) throw error
    })
    if (one) return { one, streams }
    streams.fail("nothing came")
    return null
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
    const stop = () => streams.fail(signal.reason)
    signal.addEventListener("abort", stop)
    send(body, streams.writable)
    try {
      return responseOf(await Promise.race([answer, aborted(signal)]), streams.readable)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      streams.fail(error)
      throw error instanceof TypeError ? error : new TypeError(error.message, { cause: error })
    }
  }

  async dial(network, address) {
    const { streams, answer } = this.#open("dial", [network, address])
    return connection(await answer, streams)
  }

  async listen(network, address) {
    const { id, local } = await this.#call("listen", [network, address])
    return new Listener(local, () => this.#accept(id), () => this.#close(id))
  }

  async serve(address, handler) {
    const { id, local } = await this.#call("serve", [address])
    this.#answerAll(id, handler)
    return { local, close: () => this.#close(id) }
  }

  async #answerAll(id, handler) {
    for (let next; (next = await this.#accept(id)); ) this.#respond(next, handler)
  }

  async #respond({ one, streams: { readable, writable } }, handler) {
    const { head, body } = await responseTo(one, readable, handler)
    try {
      await this.#call("respond", [one.id, head])
      if (body) await body.pipeTo(writable)
      else await writable.close()
    } catch (error) { // the client has gone, or the body broke off
      for (const done of [body?.cancel(error), writable.abort(error)]) done?.catch(() => {})
    }
  }

  async #close(id) {
    if (this.#worker) await this.#call("close", [id])
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
    this.#stop(isClosed())
  }
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
  const bodiless = [204, 205, 304].includes(head.status)
  const response = new Response(bodiless ? null : body, { status: head.status, statusText: head.statusText, headers: head.headers })
  if (bodiless) body.cancel().catch(() => {})
  Object.defineProperties(response, { url: { value: head.url }, redirected: { value: head.redirected } })
  return response
}

// responseTo has a request answered, and returns the head and the body of the
// answer.
async function responseTo(one, readable, handler) {
  let request
  try {
    const hasBody = one.hasBody && one.method !== "GET" && one.method !== "HEAD"
    request = new Request(one.url, { method: one.method, headers: one.headers, body: hasBody ? readable : null, duplex: "half" })
  } catch { // what a page cannot have, such as CONNECT
    return { head: { status: 400, headers: [] } }
  }
  try {
    const { status, headers, body, bodyUsed } = await handler(request, { remote: one.remote })
    if (!(status >= 200) || bodyUsed) throw new TypeError("the handler's answer is no Response to send")
    return { head: { status, headers: [...headers] }, body }
  } catch (error) {
    reportError(error)
    return { head: { status: 500, headers: [] } }
  }
}

function connection({ local, remote }, { readable, writable, fail }) {
  return {
    readable,
    writable,
    local,
    remote,
    async close() { fail(isClosed()) },
  }
}

// A Listener is an async iterable of connections. It accepts them as they are
// asked for: until then they wait in the node, which bounds their number.
class Listener {
  #accept

  constructor(local, accept, close) {
    this.local = local
    this.close = close
    this.#accept = accept
  }

  async *[Symbol.asyncIterator]() {
    for (let next; (next = await this.#accept()); ) yield connection(next.one, next.streams)
  }
}
