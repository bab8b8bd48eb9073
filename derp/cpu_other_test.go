//go:build !unix

package derp

// cpuSeconds is not known.
func cpuSeconds() float64 { return 0 }
