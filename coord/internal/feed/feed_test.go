package feed

import (
	"context"
	"testing"
)

func TestFeed(t *testing.T) {
	var f Feed[int]
	f.Publish(1) // nobody follows yet
	early := f.Follow(t.Context())
	f.Publish(2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	late := f.Follow(ctx)
	f.Publish(3)
	want := 2
	for got, err := range early {
		if got != want || err != nil {
			t.Fatalf("got %d, %v; want %d", got, err, want)
		}
		if want++; got == 3 {
			break
		}
	}
	for got := range late {
		if got != 3 {
			t.Errorf("who followed late got %d", got)
		}
		cancel() // ends the loop
	}
}
