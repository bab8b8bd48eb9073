package netmon

import (
	"bufio"
	"encoding/binary"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// parseRoutes returns the gateway of the default route with the lowest metric
// from the text of Linux's /proc/net/route: a head line, then for each route
//
//	Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
//
// in which addresses and flags are hexadecimal, and the bytes of an address
// those of a number in memory.
func parseRoutes(r io.Reader) (gateway netip.Addr, ok bool) {
	const up, viaGateway = 1, 2 // RTF_UP, RTF_GATEWAY
	best := uint64(0)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		addr, err1 := strconv.ParseUint(f[2], 16, 32)
		flags, err2 := strconv.ParseUint(f[3], 16, 32)
		metric, err3 := strconv.ParseUint(f[6], 10, 32)
		if err1 != nil || err2 != nil || err3 != nil || addr == 0 || flags&(up|viaGateway) != up|viaGateway {
			continue
		}
		if !ok || metric < best {
			var raw [4]byte
			binary.NativeEndian.PutUint32(raw[:], uint32(addr))
			gateway, best, ok = netip.AddrFrom4(raw), metric, true
		}
	}
	return gateway, ok
}
