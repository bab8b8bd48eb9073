package meshnet

import (
	"fmt"
	"io"
	"log/slog"
)

// String names the node and its state, and shows nothing of its configuration.
func (s *Server) String() string {
	return fmt.Sprintf("meshnet.Server(%q, %s)", s.Hostname, s.Status().State)
}

// Format implements [fmt.Formatter]: no verb shows the AuthKey.
func (s *Server) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue implements [slog.LogValuer], for handlers that would print fields.
func (s *Server) LogValue() slog.Value { return slog.StringValue(s.String()) }
