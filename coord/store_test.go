package coord_test

import (
	"testing"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/coord/storetest"
)

func TestMemoryStore(t *testing.T) { storetest.Run(t, coord.NewMemoryStore()) }
