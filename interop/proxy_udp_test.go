package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// datagrams go through UDP ASSOCIATE, by way of the two clients for it that
// Debian has. Dante puts itself between a program and its system calls: it
// gives its own address with the command, and writes addresses as names where
// the program did. (Of dig it catches the connecting and not the sending, which
// is done with sendmsg.) PySocks gives the name "0" for its own address.
func (n *proxyNet) datagrams(t *testing.T, proxies ...*proxy) {
	t.Helper()
	for _, p := range proxies {
		env := n.dante(t, p)
		p.try(t, "dante", "drill asks a DNS server", func(ctx context.Context) (string, error) {
			r, err := run(command(ctx, env, "socksify", "drill", "-p", dnsPort, "@"+n.web.ip4.String(), "web.example", "A"))
			if err != nil {
				return "", err
			}
			return "", r.says(answer.String())
		})
		p.try(t, "dante", "nc -u to an echo", func(ctx context.Context) (string, error) {
			const text = "there and back again\n"
			cmd := command(ctx, env, "socksify", "nc", "-u", "-W", "1", "-q", "-1", n.web.ip4.String(), echoPort)
			cmd.Stdin = strings.NewReader(text)
			r, err := run(cmd)
			if err != nil {
				return "", err
			}
			return "", r.says(text)
		})
		for _, c := range []struct{ what, host string }{{"name", "web"}, {"IPv4", n.web.ip4.String()}} {
			p.try(t, "PySocks", "ten datagrams to an echo, by "+c.what, func(ctx context.Context) (string, error) {
				r, err := run(command(ctx, nil, "/usr/bin/python3", "-c", pySocksEcho,
					p.port(), p.user, p.password, c.host, echoPort))
				if err != nil {
					return "", err
				}
				return "", r.says("all came back")
			})
		}
	}
}

// pySocksEcho sends datagrams of all sizes that fit the mesh's packets and
// waits for them to come back.
const pySocksEcho = `
import socket, socks, sys
port, user, password, host, echo = sys.argv[1:]
s = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
s.set_proxy(socks.SOCKS5, "127.0.0.1", int(port), username=user or None, password=password or None)
s.settimeout(10)
for i in range(10):
    sent = bytes([i]) * (i * 130 + 1)
    s.sendto(sent, (host, int(echo)))
    got, sender = s.recvfrom(2000)
    assert got == sent, (got, sent)
print("all came back, the last from", sender)
`

// dante writes the configuration of Dante's client, and returns the variables
// by which it finds that. It knows IPv4 alone.
func (n *proxyNet) dante(t *testing.T, p *proxy) (env []string) {
	t.Helper()
	method := "none"
	if p.password != "" {
		method = "username"
	}
	config := fmt.Sprintf(`
		logoutput: stderr
		resolveprotocol: fake
		route {
			from: 0.0.0.0/0 to: 0.0.0.0/0 via: %s port = %s
			protocol: tcp udp
			proxyprotocol: socks_v5
			method: %s
		}`, loopback, p.port(), method)
	path := filepath.Join(t.TempDir(), "dante.conf")
	check(t, "the configuration is written", os.WriteFile(path, []byte(config), 0o600))
	return []string{"SOCKS_CONF=" + path, "SOCKS_USERNAME=" + p.user, "SOCKS_PASSWORD=" + p.password}
}
