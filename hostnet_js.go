package meshnet

import (
	"net/netip"
	"syscall/js"

	"github.com/meshnet-go/meshnet/internal/magicsock"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// hostNet is what a browser tells of the host's network: that it has come back.
type hostNet struct {
	behindNAT bool // never
	online    chan struct{}
	listener  js.Func
}

func newHostNet(config) *hostNet {
	h := &hostNet{online: make(chan struct{}, 1)}
	h.listener = js.FuncOf(func(js.Value, []js.Value) any {
		h.look()
		return nil
	})
	h.listen("addEventListener")
	return h
}

// listen begins or ends to listen. Outside browsers there is nothing to hear.
func (h *hostNet) listen(method string) {
	if global := js.Global(); global.Get(method).Truthy() {
		global.Call(method, "online", h.listener)
	}
}

func (h *hostNet) close() {
	h.listen("removeEventListener")
	h.listener.Release()
}

func (h *hostNet) look() {
	select {
	case h.online <- struct{}{}:
	default:
	}
}

func (h *hostNet) changed() <-chan struct{}  { return h.online }
func (h *hostNet) remapped() <-chan struct{} { return nil }
func (h *hostNet) addrs() []netip.Prefix     { return nil }
func (h *hostNet) mapped() netip.AddrPort    { return netip.AddrPort{} }
func (h *hostNet) host(view) magicsock.Host  { return magicsock.Host{} }

func (h *hostNet) netInfo(found *tailcfg.NetInfo) *tailcfg.NetInfo { return found }
func (h *hostNet) seekMapping(behindNAT bool, port uint16)         {}
