// Package hostping asks addresses of the host's network for an echo, without
// root where the system allows it.
package hostping
