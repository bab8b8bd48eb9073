package main

import (
	"errors"
	"flag"
	"io"
	"log/slog"
)

// A logConfig is the flags of commands that write a log.
type logConfig struct {
	verbose bool
	json    bool
}

func (c *logConfig) addFlags(fs *flag.FlagSet) {
	fs.BoolVar(&c.verbose, "verbose", false, "log every connection, and much of what the node does")
	fs.Func("log-format", "`FORMAT` of the log: text or json (default text)", func(text string) error {
		if c.json = text == "json"; !c.json && text != "text" {
			return errors.New("want text or json")
		}
		return nil
	})
}

func (c *logConfig) logger(out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if c.verbose {
		options.Level = slog.LevelDebug
	}
	if c.json {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
