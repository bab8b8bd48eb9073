package magicsock

import (
	"slices"
	"testing"
)

func TestPlaceRegion(t *testing.T) {
	const own, unknown = 1, 99
	known := func(region int) bool { return region >= 1 && region <= 5 }
	for _, tt := range []struct {
		name      string
		place     place
		connected []int
		want      int
	}{
		{"at home", place{home: 2}, nil, 2},
		{"at home, though heard elsewhere", place{home: 2, last: 3, fresh: true}, []int{2, 3}, 2},
		{"the way back, while home is not connected", place{home: 2, last: 3, fresh: true}, []int{3}, 3},
		{"not the way back of long ago", place{home: 2, last: 3}, []int{3}, 2},
		{"not a way back that is closed", place{home: 2, last: 3, fresh: true}, nil, 2},
		{"home unknown: where it was heard", place{last: 3, fresh: true}, []int{3}, 3},
		{"home unknown: where it was heard long ago", place{last: 3}, nil, 3},
		{"home unknown, never heard: where we are", place{}, nil, own},
		{"home not in the map", place{home: unknown}, nil, own},
		{"home not in the map, but heard", place{home: unknown, last: 3}, nil, 3},
		{"heard through a region since withdrawn", place{home: 2, last: unknown, fresh: true}, []int{unknown}, 2},
		{"and no home either", place{last: unknown, fresh: true}, nil, own},
	} {
		t.Run(tt.name, func(t *testing.T) {
			connected := func(region int) bool { return slices.Contains(tt.connected, region) }
			if got := tt.place.region(known, connected, own); got != tt.want {
				t.Errorf("region %d, want %d", got, tt.want)
			}
		})
	}
}
