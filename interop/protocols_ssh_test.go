package interop

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// sshHost is an SSH server in Go: it runs one command, "sum", which answers with
// the checksum of its input, and forwards connections to a dial function.
type sshHost struct {
	config *ssh.ServerConfig
	dial   func(addr string) (net.Conn, error)
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, "there is a key", err)
	signer, err := ssh.NewSignerFromKey(private)
	check(t, "it signs", err)
	return signer
}

func (h *sshHost) serve(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go h.serveConn(conn)
	}
}

func (h *sshHost) serveConn(conn net.Conn) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, h.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		switch offered.ChannelType() {
		case "session":
			go h.session(offered)
		case "direct-tcpip":
			go h.forward(offered)
		default:
			offered.Reject(ssh.UnknownChannelType, "no such thing")
		}
	}
}

func (h *sshHost) session(offered ssh.NewChannel) {
	channel, requests, err := offered.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	for r := range requests {
		var exec struct{ Command string }
		known := r.Type == "exec" && ssh.Unmarshal(r.Payload, &exec) == nil && exec.Command == "sum"
		r.Reply(known, nil)
		if known {
			io.WriteString(channel, sum(channel))
			channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{7}))
			return
		}
	}
}

func (h *sshHost) forward(offered ssh.NewChannel) {
	var to struct {
		Host     string
		Port     uint32
		From     string
		FromPort uint32
	}
	ssh.Unmarshal(offered.ExtraData(), &to)
	target, err := h.dial(net.JoinHostPort(to.Host, fmt.Sprint(to.Port)))
	if err != nil {
		offered.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer target.Close()
	channel, requests, err := offered.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	go func() {
		io.Copy(target, channel)
		target.(interface{ CloseWrite() error }).CloseWrite()
	}()
	io.Copy(channel, target)
	channel.Close()
}

func TestSSHOverMesh(t *testing.T) {
	overMesh(t, func(t *testing.T, server, client *meshnetNode) {
		host, user := newSigner(t), newSigner(t)
		h := &sshHost{
			config: &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
				if !bytes.Equal(k.Marshal(), user.PublicKey().Marshal()) {
					return nil, fmt.Errorf("an unknown key")
				}
				return nil, nil
			}},
			dial: func(addr string) (net.Conn, error) { return server.Dial(t.Context(), "tcp", addr) },
		}
		h.config.AddHostKey(host)
		ln, err := server.Listen("tcp", ":22")
		check(t, "the server listens", err)
		go h.serve(ln)

		conn, err := client.Dial(within(t, 10*time.Second), "tcp", "server:22")
		check(t, "the client connects", err)
		c, channels, requests, err := ssh.NewClientConn(conn, "server:22", &ssh.ClientConfig{
			User: "alice", Auth: []ssh.AuthMethod{ssh.PublicKeys(user)}, HostKeyCallback: ssh.FixedHostKey(host.PublicKey()),
		})
		check(t, "they shake hands", err)
		session := ssh.NewClient(c, channels, requests)
		t.Cleanup(func() { session.Close() })
		sshRuns(t, session)
		sshForwards(t, session, client)
	})
}

// sshRuns runs the command with much input.
func sshRuns(t *testing.T, c *ssh.Client) {
	t.Helper()
	const size = 8 << 20
	s, err := c.NewSession()
	check(t, "a session begins", err)
	defer s.Close()
	s.Stdin = content(size)
	out, err := s.Output("sum")
	exit, ok := err.(*ssh.ExitError)
	if !ok || exit.ExitStatus() != 7 {
		t.Fatalf("the command ends with %v", err)
	}
	equal(t, "the checksum", string(out), sum(content(size)))
}

// sshForwards goes through the server back to the client.
func sshForwards(t *testing.T, c *ssh.Client, client *meshnetNode) {
	t.Helper()
	ln, err := client.Listen("tcp", ":7000")
	check(t, "the client listens", err)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			io.Copy(conn, conn)
			conn.Close()
		}
	}()
	conn, err := c.Dial("tcp", "client:7000")
	check(t, "a connection is forwarded", err)
	defer conn.Close()
	go func() {
		io.Copy(conn, content(1<<20))
		conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	equal(t, "the checksum of what comes back", sum(conn), sum(content(1<<20)))
}
