package netmon

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"
)

// forwardRow is MIB_IPFORWARDROW of iphlpapi.h. Addresses are in the byte
// order of the network.
type forwardRow struct {
	dest, mask, policy, nextHop uint32
	rest                        [10]uint32
}

// hostGateway returns the default router of IPv4.
func hostGateway() (netip.Addr, bool) {
	bestRoute := syscall.NewLazyDLL("iphlpapi.dll").NewProc("GetBestRoute")
	if bestRoute.Find() != nil {
		return netip.Addr{}, false
	}
	// The way to a root name server: that to everywhere.
	to := binary.NativeEndian.Uint32([]byte{198, 41, 0, 4})
	var row forwardRow
	if failed, _, _ := bestRoute.Call(uintptr(to), 0, uintptr(unsafe.Pointer(&row))); failed != 0 || row.dest != 0 || row.nextHop == 0 {
		return netip.Addr{}, false
	}
	var raw [4]byte
	binary.NativeEndian.PutUint32(raw[:], row.nextHop)
	return netip.AddrFrom4(raw), true
}
