// The page: joins the mesh, and connects what the page shows with the node.

import { up } from "./meshnet.js"
import { draw } from "./picture.js"
import { talk } from "./terminal.js"

const $ = (id) => document.getElementById(id)
const shortName = (peer) => peer.name.split(".")[0]

start().catch(fail)

async function start() {
  const config = await (await fetch("page.json")).json()
  const node = await up({
    ...config.node,
    onProgress: ({ loaded, total }) => {
      $("progress").value = loaded / total
      $("loaded").textContent = `${(loaded / 1e6).toFixed(1)} MB`
      if (loaded === total) $("loaded").textContent = "joining the mesh"
    },
  })
  $("up-after").textContent = `${Math.round(performance.now())} ms`
  $("loading").hidden = true
  serve(node, config.proxy)
  for (const button of document.querySelectorAll("#fetch button")) button.disabled = false
  $("fetch").addEventListener("submit", (event) => {
    event.preventDefault()
    fetchInto(node, $("url").value)
  })
  for (const button of document.querySelectorAll("button[data-url]")) {
    button.addEventListener("click", () => {
      $("url").value = button.dataset.url
      fetchInto(node, button.dataset.url)
    })
  }
  talk(node, "web:23", { terminal: $("terminal"), screen: $("screen"), line: $("line") })
  follow(node)
}

function fail(error) {
  $("loading").hidden = true
  $("state").textContent = "failed"
  $("state").className = "state failed"
  $("problem").textContent = error.message
  $("problem").hidden = false
}

// follow shows how the node stands, each second and whenever that changes.
async function follow(node) {
  const latencies = new Map()
  let last
  const show = (status) => {
    last = status
    $("state").textContent = status.state
    $("state").className = `state ${status.state}`
    $("name").textContent = status.self.name || "–"
    $("addresses").textContent = status.self.addresses.join(", ") || "–"
    $("problem").textContent = status.health.join(" ")
    $("problem").hidden = status.health.length === 0
    draw($("picture"), status, latencies)
  }
  const look = async () => {
    if (document.hidden) return
    show(await node.status())
  }
  const ping = async () => {
    if (document.hidden) return
    const { peers } = await node.status()
    await Promise.all(peers.filter((peer) => peer.online).map(async (peer) => {
      try {
        latencies.set(peer.id, (await node.ping(peer.name)).latency)
      } catch {
        latencies.delete(peer.id)
      }
    }))
  }
  new ResizeObserver(() => last && draw($("picture"), last, latencies)).observe($("picture"))
  repeat(look, 1000)
  repeat(ping, 3000)
  for await (const status of node.watch()) show(status)
  fail(new Error("The node has left the mesh."))
}

async function repeat(work, pause) {
  for (;;) {
    await work().catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}

let fetching = new AbortController()

async function fetchInto(node, url) {
  fetching.abort()
  fetching = new AbortController()
  const { signal } = fetching
  const output = $("response")
  const start = performance.now()
  const since = () => `${Math.round(performance.now() - start)} ms`
  output.textContent = ""
  $("took").textContent = "…"
  try {
    const response = await node.fetch(url, { signal })
    const first = since()
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      output.textContent += text
      output.scrollTop = output.scrollHeight
    }
    $("took").textContent = `${response.status} ${response.statusText}, first byte after ${first}, all after ${since()}`
  } catch (error) {
    if (!signal.aborted) $("took").textContent = error.message
  }
}

// serve makes the page a web server.
async function serve(node, proxy) {
  $("command").textContent = proxy ? `curl --proxy socks5h://${proxy} http://page/` : "curl http://page/"
  await node.serve(":80", async (request, { remote }) => {
    const who = await node.whoIs(remote).catch(() => ({ name: remote }))
    const visit = document.createElement("li")
    visit.textContent = `${new Date().toLocaleTimeString()}  ${shortName(who)}  ${request.method} ${new URL(request.url).pathname}`
    $("visitors").querySelector(".none")?.remove()
    $("visitors").prepend(visit)
    return new Response(`${$("content").value}\n`, { headers: { "Content-Type": "text/plain; charset=utf-8" } })
  })
}
