package splice

import "sync"

// The two sizes of buffers. A large one holds what TCP delivers at once when
// it is busy; a small one what people type.
const (
	small = 4 << 10
	large = 64 << 10
)

// buffers are used again by all splices of the process.
var smallBuffers, largeBuffers sync.Pool

type buffer struct {
	bytes []byte
}

func pool(size int) *sync.Pool {
	if size == small {
		return &smallBuffers
	}
	return &largeBuffers
}

func getBuffer(size int) *buffer {
	if b, ok := pool(size).Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, size)}
}

func (b *buffer) free() {
	pool(len(b.bytes)).Put(b)
}

// fit returns the buffer to read into next, after got bytes came into b: a
// large one when they filled a small one, a small one when they would have
// fitted into it.
func (b *buffer) fit(got int) *buffer {
	size := len(b.bytes)
	switch {
	case size == small && got == small:
		size = large
	case size == large && got < small:
		size = small
	default:
		return b
	}
	b.free()
	return getBuffer(size)
}
