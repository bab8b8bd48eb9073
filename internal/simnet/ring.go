package simnet

// A ring is a buffer of bytes: first in, first out. Its zero value is empty.
type ring struct {
	buf  []byte // whose length is a power of two
	head int
	n    int
}

const leastRing = 4 << 10

func (r *ring) len() int { return r.n }

// write puts p behind what is there.
func (r *ring) write(p []byte) {
	if need := r.n + len(p); need > len(r.buf) {
		r.grow(need)
	}
	tail := (r.head + r.n) & (len(r.buf) - 1)
	copied := copy(r.buf[tail:], p)
	copy(r.buf, p[copied:])
	r.n += len(p)
}

func (r *ring) grow(need int) {
	size := max(leastRing, len(r.buf))
	for size < need {
		size *= 2
	}
	grown := make([]byte, size)
	copied := copy(grown, r.buf[r.head:])
	copy(grown[copied:], r.buf[:r.head])
	r.buf, r.head = grown, 0
}

// read takes len(p) bytes, which must be there.
func (r *ring) read(p []byte) {
	if len(p) == 0 {
		return
	}
	copied := copy(p, r.buf[r.head:])
	copy(p[copied:], r.buf)
	r.head = (r.head + len(p)) & (len(r.buf) - 1)
	r.n -= len(p)
}
