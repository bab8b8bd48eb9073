package ping

import (
	"testing"

	"github.com/meshnet-go/meshnet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
