package wg

import "golang.zx2c4.com/wireguard/device"

// PacketSize returns the size in bytes of the largest IP packet whose WireGuard
// message has at most so many bytes, and fits into WireGuard's buffers, which
// are small on iOS and Windows. A message has a header and a tag, 32 bytes, and
// the packet in it is padded to a multiple of 16; that holds while the MTU of
// the tun.Device is such a multiple, as 1280 is.
func PacketSize(message int) int {
	content := min(message, device.MaxMessageSize) - device.MessageTransportSize
	return max(0, content-content%device.PaddingMultiple)
}
