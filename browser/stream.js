// Streams of bytes through a MessagePort, in both directions, between a page and
// its worker. Browsers can transfer streams themselves, but not all of them, and
// with a message there and back for each chunk.
//
// A sender may be so many bytes ahead of its receiver, who says what it has taken:
//
//   { data: Uint8Array }  { end: true }  { error: message }    from the sender
//   { taken: bytes }  { stop: true }                           from the receiver

const window = 512 * 1024

// duplex returns { readable, writable, fail } of one end of a channel. Chunks that
// are written are transferred: whoever wrote them has them no more. fail breaks off
// what is not over, on both ends, whoever has locked the streams. over is called
// when nothing can come or go any more.
export function duplex(port, over = () => {}) {
  const look = () => {
    if (!sender.over || !receiver.over) return
    port.close()
    over()
  }
  const receiver = new Receiver(port, look)
  const sender = new Sender(port, look)
  port.onmessage = ({ data: message }) => {
    if ("taken" in message) sender.taken(message.taken)
    else if ("stop" in message) sender.stopped()
    else receiver.take(message)
  }
  const fail = (reason) => {
    receiver.fail(reason)
    sender.fail(reason)
  }
  return { readable: receiver.stream, writable: sender.stream, fail }
}

class Receiver {
  over = false // nothing more comes, though some may wait
  waiting = []
  wanted = false

  constructor(port, look) {
    this.port = port
    this.look = look
    this.stream = new ReadableStream({
      start: (controller) => { this.controller = controller },
      pull: (controller) => {
        // One chunk is taken from the queue for each call.
        if (this.waiting.length > 0) this.hand(controller, this.waiting.shift())
        else this.wanted = true
      },
      cancel: () => this.stop(),
    }, { highWaterMark: 0 })
  }

  hand(controller, message) {
    if (message.data) {
      controller.enqueue(message.data)
      this.port.postMessage({ taken: message.data.byteLength })
    } else if (message.error) {
      controller.error(new Error(message.error))
    } else {
      controller.close()
    }
  }

  take(message) {
    if (this.over) return
    if (message.error) {
      this.waiting.length = 0
      this.hand(this.controller, message)
    } else if (this.wanted || (message.end && this.waiting.length === 0)) {
      this.wanted = false
      this.hand(this.controller, message)
    } else {
      this.waiting.push(message)
    }
    if (message.data) return
    this.over = true
    this.look()
  }

  stop() {
    this.waiting.length = 0
    if (this.over) return
    this.over = true
    this.port.postMessage({ stop: true })
    this.look()
  }

  fail(reason) {
    this.controller.error(reason) // nothing, if the stream is at its end
    this.stop()
  }
}

class Sender {
  over = false
  ahead = 0 // bytes that are sent and not taken
  resume = null

  constructor(port, look) {
    this.port = port
    this.look = look
    this.stream = new WritableStream({
      start: (controller) => {
        this.controller = controller
        // abort waits for a write that is under way.
        controller.signal.addEventListener("abort", () => this.go())
      },
      write: (chunk) => {
        const data = asBytes(chunk)
        if (data.byteLength === 0) return undefined
        this.ahead += data.byteLength
        port.postMessage({ data }, [data.buffer])
        if (this.ahead < window) return undefined
        return new Promise((resolve) => { this.resume = resolve })
      },
      close: () => this.end({ end: true }),
      abort: (reason) => this.end({ error: describe(reason) }),
    })
  }

  // go lets a write that waits be over.
  go() {
    this.resume?.()
    this.resume = null
  }

  taken(bytes) {
    this.ahead -= bytes
    if (this.ahead < window) this.go()
  }

  end(message) {
    if (this.over) return
    this.over = true
    this.port.postMessage(message)
    this.look()
  }

  stopped() {
    if (this.over) return
    this.over = true
    this.controller.error(new Error("nobody reads this stream any more"))
    this.go()
    this.look()
  }

  fail(reason) {
    if (this.over) return
    this.controller.error(reason)
    this.go()
    this.end({ error: describe(reason) })
  }
}

const describe = (reason) => String(reason?.message ?? reason ?? "aborted") || "aborted"

// asBytes returns a chunk as an Uint8Array that can be transferred: one that is
// all there is in its buffer.
function asBytes(chunk) {
  if (typeof chunk === "string") return new TextEncoder().encode(chunk)
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk)
  if (!ArrayBuffer.isView(chunk)) throw new TypeError("only bytes and strings can be written")
  const view = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  return view.byteLength === view.buffer.byteLength ? view : view.slice()
}
