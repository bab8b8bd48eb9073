// Package layers holds the import graph of meshnet as a policy, and the policy
// is a test: a package imports only from the lines above its own, and the pure
// ones decide without a clock, a socket or a goroutine. A package that needs
// something from below is in the wrong place.
package layers

// policy is read by the test. A name is a folder of the module; "." is the
// root, and "..." stands for everything below a folder.
const policy = `
key  derp/derpmap  internal/{stun,tsmp,dns,udp,netstack,netmon,simnet,serve,splice,hostping,pcapng,cert,acmedns,wsconn}
socks5  httpproxy  browser/internal/web
internal/disco  internal/ping  internal/tailcfg  internal/noise  internal/portmap  internal/capture  derp
internal/path  internal/psk  internal/netcheck  internal/reorder  internal/filter  internal/policy  internal/relay  internal/control  coord/internal/{feed,web}
internal/netmap  internal/wg  internal/magicsock  internal/tunwrap  coord
coord/{boltstore,storetest}
.
meshtest  meshdebug  browser
browser/node  examples/browser/{either,page}
cmd/...  examples/...  internal/layers
`

// pure packages do no I/O, start no goroutine and read no clock: time comes in
// as an argument.
const pure = `key derp/derpmap internal/{stun,tsmp,dns,pcapng,disco,tailcfg,path,psk,reorder,netcheck,filter,policy,netmap}`

// only says which package alone may import a module.
const only = `gvisor.dev/gvisor internal/netstack`
