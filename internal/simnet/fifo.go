package simnet

// A fifo is a queue: first in, first out. Its zero value is empty.
type fifo[T any] struct {
	items []T // a ring, whose length is a power of two
	head  int
	n     int
}

func (q *fifo[T]) len() int { return q.n }

func (q *fifo[T]) push(item T) {
	if q.n == len(q.items) {
		grown := make([]T, max(8, 2*q.n))
		copied := copy(grown, q.items[q.head:])
		copy(grown[copied:], q.items[:q.head])
		q.items, q.head = grown, 0
	}
	q.items[(q.head+q.n)&(len(q.items)-1)] = item
	q.n++
}

// first returns the oldest item. The queue must not be empty.
func (q *fifo[T]) first() T { return q.items[q.head] }

// pop removes the oldest item. The queue must not be empty.
func (q *fifo[T]) pop() T {
	item := q.items[q.head]
	clear(q.items[q.head : q.head+1])
	q.head = (q.head + 1) & (len(q.items) - 1)
	q.n--
	return item
}
