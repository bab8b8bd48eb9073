// Streams of bytes through a MessagePort, in both directions, between a page and
// its worker. Browsers can transfer streams themselves, but not all of them, and
// with a message there and back for each chunk.
//
// A sender may be so many bytes ahead of its receiver, who says what it has taken:
//
//   { data: Uint8Array }  { end: true }  { error: message }    from the sender
//   { taken: bytes }  { stop: true }                           from the receiver

const window = 512 * 1024

// duplex returns { readable, writable } of one end of a channel. Chunks that are
// written are transferred: whoever wrote them has them no more.
export function duplex(port) {
  const receiver = new Receiver(port)
  const sender = new Sender(port)
  port.onmessage = ({ data: message }) => {
    if ("taken" in message) sender.taken(message.taken)
    else if ("stop" in message) sender.stopped()
    else receiver.take(message)
    if (sender.over && receiver.over) port.close()
  }
  return { readable: receiver.stream, writable: sender.stream }
}

class Receiver {
  over = false

  constructor(port) {
    this.stream = new ReadableStream({
      start: (controller) => { this.controller = controller },
      pull: (controller) => {
        // One chunk is taken from the queue for each call.
        if (this.waiting.length > 0) this.hand(controller, this.waiting.shift())
        else this.wanted = true
      },
      cancel: () => {
        this.over = true
        port.postMessage({ stop: true })
      },
    }, { highWaterMark: 0 })
    this.port = port
  }

  waiting = []
  wanted = false

  hand(controller, message) {
    if (message.data) {
      controller.enqueue(message.data)
      this.port.postMessage({ taken: message.data.byteLength })
      return
    }
    this.over = true
    if (message.error) controller.error(new Error(message.error))
    else controller.close()
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
  }
}

class Sender {
  over = false
  ahead = 0 // bytes that are sent and not taken
  resume = null

  constructor(port) {
    this.stream = new WritableStream({
      start: (controller) => { this.controller = controller },
      write: (chunk) => {
        const data = asBytes(chunk)
        if (data.byteLength === 0) return undefined
        this.ahead += data.byteLength
        port.postMessage({ data }, [data.buffer])
        if (this.ahead < window) return undefined
        return new Promise((resolve) => { this.resume = resolve })
      },
      close: () => {
        this.over = true
        port.postMessage({ end: true })
      },
      abort: (reason) => {
        this.over = true
        port.postMessage({ error: String(reason?.message ?? reason ?? "aborted") })
      },
    })
  }

  taken(bytes) {
    this.ahead -= bytes
    if (this.ahead < window && this.resume) {
      this.resume()
      this.resume = null
    }
  }

  stopped() {
    if (this.over) return
    this.over = true
    this.controller.error(new Error("nobody reads this stream any more"))
    this.resume?.()
  }
}

// asBytes returns a chunk as an Uint8Array that can be transferred: one that is
// all there is in its buffer.
function asBytes(chunk) {
  if (typeof chunk === "string") return new TextEncoder().encode(chunk)
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk)
  const view = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  return view.byteLength === view.buffer.byteLength ? view : view.slice()
}
