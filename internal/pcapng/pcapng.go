// Package pcapng appends the blocks of a capture file, as Wireshark and its like
// read them (draft-ietf-opsawg-pcapng). A file is one section of one interface
// whose packets begin with an IP header:
//
//	section  interface  names  packet …  statistics
//
// Each block, little-endian and filled up to multiples of four bytes:
//
//	0        4        8                        length-4
//	+--------+--------+------------------------+--------+
//	|  type  | length |  body, then options    | length |
//	+--------+--------+------------------------+--------+
//
//	option   code 2 | length 2 | value; the last one is code 0
package pcapng

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Types of blocks.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockNames      = 4
	blockStatistics = 5
	blockPacket     = 6
)

// Options: the general ones, and those of each block.
const (
	optionEnd     = 0
	optionComment = 1

	sectionApplication = 4

	interfaceName       = 2
	interfaceResolution = 9

	packetFlags = 2
	packetLost  = 4

	statisticsReceived = 4
	statisticsLost     = 5
)

const (
	byteOrder      = 0x1a2b3c4d
	lengthUnknown  = ^uint64(0)
	linkRaw        = 101 // packets are IPv4 or IPv6, by their first bits
	resolutionNano = 9   // timestamps are 10^-9 seconds

	flagIn, flagOut = 1, 2

	nameEnd, name4, name6 = 0, 1, 2
)

// A Packet is one that was captured.
type Packet struct {
	Time     time.Time
	Outgoing bool
	Data     []byte // or as much of it as is kept
	Size     int    // of all of it
	Lost     uint64 // how many could not be kept since the one before
	Comment  string // shown with it; may be empty, and is cut at 64 KiB
}

// Overhead is the most that AppendPacket appends besides data and comment.
const Overhead = 80

// AppendHeader begins a file: application is the program that writes it, name
// what the interface is called, and keep how many bytes of a packet it has at
// most.
func AppendHeader(b []byte, application, name string, keep int) []byte {
	b, start := begin(b, blockSection)
	b = binary.LittleEndian.AppendUint32(b, byteOrder)
	b = binary.LittleEndian.AppendUint16(b, 1) // version 1.0
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint64(b, lengthUnknown)
	b = appendText(b, sectionApplication, application)
	b = end(appendOption(b, optionEnd, 0), start)

	b, start = begin(b, blockInterface)
	b = binary.LittleEndian.AppendUint16(b, linkRaw)
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(keep))
	b = appendText(b, interfaceName, name)
	b = pad(append(appendOption(b, interfaceResolution, 1), resolutionNano))
	return end(appendOption(b, optionEnd, 0), start)
}

// AppendName says what an address is called.
func AppendName(b []byte, addr netip.Addr, name string) []byte {
	name = cut(name)
	kind := uint16(name4)
	if addr.Is6() {
		kind = name6
	}
	b, start := begin(b, blockNames)
	b = appendOption(b, kind, addr.BitLen()/8+len(name)+1)
	if addr.Is6() {
		raw := addr.As16()
		b = append(b, raw[:]...)
	} else {
		raw := addr.As4()
		b = append(b, raw[:]...)
	}
	b = pad(append(append(b, name...), 0))
	return end(appendOption(b, nameEnd, 0), start)
}

// AppendPacket appends a packet. It allocates nothing when there is room in b.
func AppendPacket(b []byte, p Packet) []byte {
	b, start := begin(b, blockPacket)
	b = binary.LittleEndian.AppendUint32(b, 0) // the interface
	b = appendTime(b, p.Time)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Data)))
	b = binary.LittleEndian.AppendUint32(b, uint32(p.Size))
	b = pad(append(b, p.Data...))
	flags := uint32(flagIn)
	if p.Outgoing {
		flags = flagOut
	}
	b = binary.LittleEndian.AppendUint32(appendOption(b, packetFlags, 4), flags)
	if p.Lost > 0 {
		b = binary.LittleEndian.AppendUint64(appendOption(b, packetLost, 8), p.Lost)
	}
	if p.Comment != "" {
		b = appendText(b, optionComment, p.Comment)
	}
	return end(appendOption(b, optionEnd, 0), start)
}

// AppendStatistics ends a file: how many packets there were, of which some could
// not be kept.
func AppendStatistics(b []byte, at time.Time, packets, lost uint64) []byte {
	b, start := begin(b, blockStatistics)
	b = binary.LittleEndian.AppendUint32(b, 0) // the interface
	b = appendTime(b, at)
	b = binary.LittleEndian.AppendUint64(appendOption(b, statisticsReceived, 8), packets)
	b = binary.LittleEndian.AppendUint64(appendOption(b, statisticsLost, 8), lost)
	return end(appendOption(b, optionEnd, 0), start)
}

// begin leaves the length for end.
func begin(b []byte, kind uint32) (_ []byte, start int) {
	start = len(b)
	b = binary.LittleEndian.AppendUint32(b, kind)
	return binary.LittleEndian.AppendUint32(b, 0), start
}

func end(b []byte, start int) []byte {
	length := uint32(len(b) - start + 4)
	binary.LittleEndian.PutUint32(b[start+4:], length)
	return binary.LittleEndian.AppendUint32(b, length)
}

func appendTime(b []byte, t time.Time) []byte {
	ns := uint64(t.UnixNano())
	b = binary.LittleEndian.AppendUint32(b, uint32(ns>>32))
	return binary.LittleEndian.AppendUint32(b, uint32(ns))
}

// appendOption begins an option, or a record of names, which look alike.
func appendOption(b []byte, code uint16, size int) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	return binary.LittleEndian.AppendUint16(b, uint16(size))
}

func appendText(b []byte, code uint16, text string) []byte {
	text = cut(text)
	return pad(append(appendOption(b, code, len(text)), text...))
}

// cut makes a text fit into an option, with an address and a zero beside it.
func cut(text string) string { return text[:min(len(text), 1<<16-1-17)] }

// pad fills up to a multiple of four, which what is before the block has to be, too.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
