package wg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"golang.zx2c4.com/wireguard/device"
)

// newLogger hands on what wireguard-go logs. It never logs a private key; of
// peers it logs the first and last digits of their public ones.
func newLogger(logger *slog.Logger) *device.Logger {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	log := func(level slog.Level, format string, args []any) {
		if ctx := context.Background(); logger.Enabled(ctx, level) {
			logger.Log(ctx, level, "WireGuard: "+fmt.Sprintf(format, args...))
		}
	}
	return &device.Logger{
		Verbosef: func(format string, args ...any) { log(slog.LevelDebug, format, args) },
		Errorf: func(format string, args ...any) {
			level := slog.LevelWarn
			if isClosing(args) {
				level = slog.LevelDebug
			}
			log(level, format, args)
		},
	}
}

// isClosing reports whether a message is about something being closed, which
// happens whenever a device goes down with packets on their way.
func isClosing(args []any) bool {
	for _, arg := range args {
		if err, ok := arg.(error); ok && errors.Is(err, net.ErrClosed) {
			return true
		}
	}
	return false
}
