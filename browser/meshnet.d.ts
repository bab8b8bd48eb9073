// A node of a mesh in a web page: https://github.com/meshnet-go/meshnet

/**
 * Joins the mesh, and returns when the node is a member that others reach.
 * Otherwise it throws a {@link MeshnetError}.
 */
export function up(options: Options): Promise<Node>

export interface Options {
  /** Where the coordinator is, absolute or relative to the page. The page's own origin by default. */
  controlURL?: string | URL
  /**
   * The coordinator's public key, "mkey:…". Needed for a coordinator of another origin that does not let pages
   * read its key, such as Headscale.
   */
  controlKey?: string
  /** Admits the node without a person. */
  authKey?: string
  /** The name to ask for in the mesh; "browser" by default. */
  hostname?: string
  /**
   * The name of the IndexedDB database that keeps the node's keys, so that it is the same node when the page is
   * loaded again; "meshnet" by default. One page at a time is the node. false keeps nothing.
   */
  store?: string | false
  /** Whether the mesh forgets the node when it has gone; true by default when nothing is stored. */
  ephemeral?: boolean
  /** Reaches addresses behind subnet routers. */
  acceptRoutes?: boolean
  /** The name or address of the peer through which the Internet is reached. */
  exitNode?: string
  /** Agrees a preshared key by ML-KEM-768 with peers that do so, too. */
  postQuantum?: boolean
  /** Where the program is; meshnet.wasm beside the module by default. */
  wasm?: string | URL
  /** Gives up: then up throws its reason. Once the node is a member it has no part. */
  signal?: AbortSignal
  /** Is told how many bytes of the program have come. */
  onProgress?(progress: { loaded: number; total: number }): void
  /** Is told the page where a person must let the node in. Without it, up throws then. */
  onLogin?(url: string): void
  /** Is given the log, line by line. */
  onLog?(line: string): void
}

export interface Node {
  /**
   * Like the browser's fetch, but from an HTTP server of the mesh: hosts are names or addresses of it. Bodies are
   * streams in both directions. Neither CORS nor cookies nor caches have a part in it, and with redirect "manual"
   * the answer is the redirect itself. A body that is not wanted should be cancelled.
   */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>

  /** Connects to "name:port". network is "tcp", or "udp": then each chunk is a datagram, and empty ones are left out. */
  dial(network: "tcp" | "tcp4" | "tcp6" | "udp" | "udp4" | "udp6", address: string): Promise<Connection>

  /** Accepts connections of the mesh at ":port", as they are asked for: the node bounds how many wait. */
  listen(network: "tcp" | "tcp4" | "tcp6", address: string): Promise<Listener>

  /**
   * Serves HTTP to the mesh at ":port". An exception of the handler's is a status of 500, and reported as an
   * uncaught one. Headers that browsers keep from pages, such as Cookie and Host, the request does not have.
   */
  serve(address: string, handler: (request: Request, from: { remote: string }) => Response | Promise<Response>): Promise<Server>

  /** How the node and its peers stand now. */
  status(): Promise<Status>

  /**
   * The status of now, and one after each change of state, peers or relay. Paths and counters change all the time:
   * who wants to follow those calls status.
   */
  watch(): AsyncIterableIterator<Status>

  /** Asks a peer, by name or address, for a sign of life; gives up after five seconds. */
  ping(name: string): Promise<{ /** in milliseconds */ latency: number; path: Path }>

  /** Says who has an address of the mesh, such as a connection's remote one. */
  whoIs(address: string): Promise<{ name: string; user: string; tags: string[] }>

  /** Leaves the mesh. Streams that are not at their end break off, and listeners end. */
  close(): Promise<void>

  /** Is fulfilled when the node has left the mesh, or has ended otherwise. */
  readonly closed: Promise<void>
}

export interface Connection {
  /** Cancelling it ends the connection. */
  readonly readable: ReadableStream<Uint8Array>
  /** Takes bytes, which it transfers, and strings. Closing it says that nothing more comes. */
  readonly writable: WritableStream<Uint8Array | ArrayBuffer | string>
  readonly local: string
  readonly remote: string
  /** Breaks the connection off, for whoever reads and writes as well. */
  close(): Promise<void>
}

export interface Listener extends AsyncIterable<Connection> {
  readonly local: string
  close(): Promise<void>
}

export interface Server {
  readonly local: string
  close(): Promise<void>
}

export interface Status {
  state: "stopped" | "starting" | "needs login" | "needs approval" | "running" | "failed" | "logged out" | "closed"
  /** The page where a person must let the node in; else empty. */
  loginURL: string
  /** Why the node failed, or the last problem on the way; else empty. */
  error: string
  /** What keeps the node from working well: sentences for people. */
  health: string[]
  /** The suffix of the names in the mesh. */
  domain: string
  self: Peer
  peers: Peer[]
}

export interface Peer {
  id: string
  /** The full name in the mesh. */
  name: string
  addresses: string[]
  /** Login name of the owner; empty for a tagged node. */
  user: string
  tags: string[]
  online: boolean
  path: Path
  bytesSent: number
  bytesReceived: number
}

/** How packets travel. From a page that is always through a relay: browsers have no UDP. */
export interface Path {
  /** Address of the peer on the network below; empty while packets go through a relay. */
  direct: string
  /** Code of the relay's region; empty when the path is direct, or none is known. */
  relay: string
}

export interface MeshnetError extends Error {
  name: "MeshnetError"
  /**
   * "needs-login": url is the page where a person must let the node in; "refused": by the coordinator;
   * "control-key-changed": it is another coordinator than before; "in-use": another page is this node;
   * "closed": by close.
   */
  code?: "needs-login" | "refused" | "control-key-changed" | "in-use" | "closed"
  url?: string
}
