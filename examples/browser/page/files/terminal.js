// A terminal that talks TCP to a node of the mesh, line by line.

const maxScreen = 20000 // characters that are kept

// talk connects to an address, and again when the person wants to.
export async function talk(node, address, { terminal, screen, line }) {
  const print = (text) => {
    screen.textContent = (screen.textContent + text).slice(-maxScreen)
    terminal.scrollTop = terminal.scrollHeight
  }
  let writer = null
  const connect = async () => {
    try {
      const conn = await node.dial("tcp", address)
      writer = conn.writable.getWriter()
      line.disabled = false
      for await (const text of conn.readable.pipeThrough(new TextDecoderStream())) print(text)
      writer.close().catch(() => {})
      print("\n(closed; enter connects again) ")
    } catch (error) {
      print(`\n(${error.message}; enter connects again) `)
    }
    writer = null
    line.disabled = false
  }
  line.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return
    print(`${line.value}\n`)
    if (writer) writer.write(`${line.value}\n`).catch(() => {})
    else connect()
    line.value = ""
  })
  terminal.addEventListener("click", () => {
    if (getSelection().isCollapsed) line.focus({ preventScroll: true })
  })
  await connect()
}
