// Package interop holds no code, only tests: meshnet against Tailscale's own
// software. It is a module of its own, so that the library's module graph
// never sees tailscale.com.
package interop
