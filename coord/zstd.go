package coord

import "encoding/binary"

// maxBlock is the most that one block of a zstd frame holds (RFC 8878, section
// 3.1.1.2.4).
const maxBlock = 128 << 10

// appendZstd appends content to dst as a zstd frame of stored blocks. Nodes ask
// for zstd and may not be answered otherwise; storing costs no compressor. A
// frame is (RFC 8878, section 3.1.1)
//
//	magic 28 b5 2f fd
//	a0                 single segment, content size in 4 bytes
//	u32 LE             content size
//	blocks, each       u24 LE last(1 bit) | type 0(2 bits) | size(21 bits), then its bytes
func appendZstd(dst, content []byte) []byte {
	dst = append(dst, 0x28, 0xb5, 0x2f, 0xfd, 0xa0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(content)))
	for {
		block := content[:min(len(content), maxBlock)]
		content = content[len(block):]
		header := uint32(len(block)) << 3
		if len(content) == 0 {
			header |= 1
		}
		dst = append(dst, byte(header), byte(header>>8), byte(header>>16))
		dst = append(dst, block...)
		if len(content) == 0 {
			return dst
		}
	}
}
