// The picture of the mesh: this page in the middle, its peers around it.

const shown = new WeakMap() // what was drawn last, so that nothing is drawn twice

// draw draws the nodes, and how this page reaches each of them. latencies are in
// milliseconds, by the peers' ids.
export function draw(svg, { self, peers }, latencies) {
  const width = svg.clientWidth || 600
  const height = svg.clientHeight || 240
  const nodes = peers.map((peer) => ({ name: shorten(peer.name), ...way(peer, latencies.get(peer.id)) }))
  const what = JSON.stringify([width, self.name, nodes])
  if (shown.get(svg) === what) return
  shown.set(svg, what)

  const [x, y] = [width / 2, height / 2]
  const [rx, ry] = [Math.min(x - 56, 320), y - 44]
  const lines = []
  const circles = []
  nodes.forEach((node, i) => {
    const angle = (2 * Math.PI * i) / nodes.length + (nodes.length === 2 ? 0 : -Math.PI / 2)
    const [px, py] = [x + rx * Math.cos(angle), y + ry * Math.sin(angle)]
    lines.push(element("line", { x1: x, y1: y, x2: px, y2: py, class: node.kind }))
    circles.push(element("g", { class: node.kind === "absent" ? "node absent" : "node" },
      element("circle", { cx: px, cy: py, r: 10 }),
      element("text", { x: px, y: py + 26 }, node.name),
      element("text", { x: px, y: py + 41, class: "way" }, node.text)))
  })
  circles.push(element("g", { class: "self" },
    element("circle", { cx: x, cy: y, r: 12 }),
    element("text", { x, y: y + 28 }, shorten(self.name) || "this page")))
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`)
  svg.replaceChildren(...lines, ...circles)
}

const shorten = (name) => name.split(".")[0]

// way says how a peer is reached.
function way(peer, latency) {
  const time = latency === undefined ? "" : `, ${latency < 10 ? latency.toFixed(1) : Math.round(latency)} ms`
  if (!peer.online) return { kind: "absent", text: "offline" }
  if (peer.path.direct) return { kind: "direct", text: `direct${time}` }
  if (peer.path.relay) return { kind: "relayed", text: `relay ${peer.path.relay}${time}` }
  return { kind: "absent", text: "" }
}

function element(name, attributes, ...content) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name)
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value)
  e.append(...content)
  return e
}
