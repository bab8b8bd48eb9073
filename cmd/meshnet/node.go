package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/key"
)

// A nodeConfig is the flags of commands that are a node of a mesh.
type nodeConfig struct {
	control, controlKey string
	hostname, state     string
	authKeyFile         string
	ephemeral, unsigned bool
	tags                list[string]
}

func (c *nodeConfig) addFlags(fs *flag.FlagSet) {
	c.tags.parse = parseTag
	fs.Func("control", "`URL` of the coordinator; required", func(text string) (err error) {
		c.control, err = text, checkControl(text)
		return err
	})
	fs.Func("control-key", "the coordinator's public `KEY`, \"mkey:…\", of which the node then makes sure", func(text string) error {
		c.controlKey = text
		_, err := key.ParseMachinePublic(text)
		return err
	})
	fs.Func("hostname", "`NAME` to ask for in the mesh (default: that of this machine)", func(text string) error {
		c.hostname = text
		return checkHostname(text)
	})
	fs.StringVar(&c.state, "state", "", "`DIR` for the node's keys, made when it is missing; one node's alone\n(default: meshnet/NAME among the user's configuration files)")
	fs.StringVar(&c.authKeyFile, "authkey-file", "", "`FILE` with the auth key, which admits the node without a person;\nMESHNET_AUTHKEY may have the key itself")
	fs.BoolVar(&c.ephemeral, "ephemeral", false, "the mesh shall forget the node when it has gone;\nwithout -state its keys are kept in memory only")
	fs.Var(&c.tags, "tags", "`TAGS` to ask for, with commas between them, such as tag:web,tag:db")
	fs.BoolVar(&c.unsigned, "allow-unsigned-peers", false, "join a mesh that is under a tailnet lock, although meshnet cannot verify it")
}

// server returns the node, not started.
func (c *nodeConfig) server(w world, log *slog.Logger) (*meshnet.Server, error) {
	if c.control == "" {
		return nil, errors.New("-control is missing: the URL of the coordinator")
	}
	authKey, err := secret(w, c.authKeyFile, "authkey-file", "MESHNET_AUTHKEY")
	if err != nil {
		return nil, err
	}
	if c.hostname == "" {
		c.hostname = machineName()
	}
	if c.state == "" && !c.ephemeral {
		home, err := stateHome()
		if err != nil {
			return nil, fmt.Errorf("-state is missing, and there is no place for it: %w", err)
		}
		c.state = filepath.Join(home, c.hostname)
	}
	return &meshnet.Server{
		Hostname:           c.hostname,
		ControlURL:         c.control,
		ControlKey:         c.controlKey,
		AuthKey:            authKey,
		Ephemeral:          c.ephemeral,
		Dir:                c.state,
		AdvertiseTags:      c.tags.values,
		AllowUnsignedPeers: c.unsigned,
		Logger:             log,
		OnAuthURL: func(page string) {
			fmt.Fprintf(w.stdout, "\nTo let this node into the mesh, sign in at\n\n\t%s\n\n", page)
		},
	}, nil
}

// stateHome is where this user's nodes have their directories.
func stateHome() (string, error) {
	configs, err := os.UserConfigDir()
	return filepath.Join(configs, "meshnet"), err
}

func parseTag(text string) (string, error) {
	if rest, ok := strings.CutPrefix(text, "tag:"); !ok || rest == "" {
		return "", fmt.Errorf("%q is no tag; want one such as tag:web", text)
	}
	return text, nil
}

func checkControl(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" ||
		u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("want a URL such as https://mesh.example.com")
	}
	return nil
}

const letterDigitHyphen = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

func checkHostname(text string) error {
	if text == "" || len(text) > 63 || strings.Trim(text, letterDigitHyphen) != "" || strings.Trim(text, "-") != text {
		return errors.New("want letters, digits and hyphens, at most 63")
	}
	return nil
}

// machineName returns the first label of this machine's name, if that can be a
// node's name.
func machineName() string {
	name, err := os.Hostname()
	name, _, _ = strings.Cut(name, ".")
	if err != nil || checkHostname(name) != nil {
		return "meshnet"
	}
	return name
}

// secret reads what must not stand among a program's arguments, where other
// users of the machine see it: from the file of a flag or else from a variable.
// Line breaks at its end are not part of it.
func secret(w world, file, flag, variable string) (string, error) {
	if file == "" {
		return w.env(variable), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("-%s: %w", flag, err)
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		return "", fmt.Errorf("-%s: %s is empty", flag, file)
	}
	return value, nil
}

// join waits until the node is a member of the mesh. Its errors say what to do.
func (c *nodeConfig) join(ctx context.Context, srv *meshnet.Server, log *slog.Logger) (*meshnet.Status, error) {
	status, err := srv.Up(ctx)
	if err != nil {
		return nil, c.explain(err)
	}
	log.Info("joined the mesh", "name", status.Self.Name, "addresses", status.Self.Addresses)
	return status, nil
}

// explain makes a sentence that says what to do of an error with which joining
// the mesh ends.
func (c *nodeConfig) explain(err error) error {
	refused, isRefused := errors.AsType[*meshnet.RefusedError](err)
	login, isLogin := errors.AsType[*meshnet.NeedsLoginError](err)
	switch {
	case isRefused && refused.Expired:
		return fmt.Errorf("the node's key has expired, and the coordinator does not renew it: %s; "+
			"give a new auth key, or none to have a person sign in", refused.Reason)
	case isRefused:
		return fmt.Errorf("the coordinator refuses this node: %s; "+
			"if it is about the auth key, give a new one, or none to have a person sign in", refused.Reason)
	case isLogin:
		return fmt.Errorf("a person must let this node in: sign in at %s, or give an auth key", login.URL)
	case errors.Is(err, meshnet.ErrControlKeyChanged):
		return fmt.Errorf("the coordinator at %s has another key than before: somebody else may answer in its place; "+
			"if it was set up anew, say so with -control-key, or remove %s", c.control, filepath.Join(c.state, "control.key"))
	case errors.Is(err, meshnet.ErrTailnetLock):
		return errors.New("the mesh is under a tailnet lock, which meshnet cannot verify; " +
			"-allow-unsigned-peers trusts the coordinator alone")
	}
	return err
}
