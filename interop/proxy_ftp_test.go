package interop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// activeFTP is what SOCKS has BIND for: the server calls the client back. Dante
// makes BIND of the client's listening. The client is one that waits for its
// connection: for one that does not, such as curl, Dante talks to the proxy on
// the same socket in another process, and the client, which FTP lets read
// first, now and then takes the proxy's answer for the server's.
func (n *proxyNet) activeFTP(t *testing.T, proxies ...*proxy) {
	t.Helper()
	for _, p := range proxies {
		p.try(t, "dante", "ftp is called back", func(ctx context.Context) (string, error) {
			client := command(ctx, n.dante(t, p), "socksify", "inetutils-ftp", "-n")
			client.Stdin = strings.NewReader("open " + n.web.ip4.String() + "\nuser anyone anyone\nget told -\nquit\n")
			r, err := run(client)
			if err != nil {
				return "", err
			}
			return "", r.says(told)
		})
	}
}

// serveFTP is an FTP server that sends one file, to where it is told to.
func (w *webNode) serveFTP(c stream) {
	reply := func(text string) { io.WriteString(c, text+"\r\n") }
	reply("220 web")
	var client netip.AddrPort
	for commands := bufio.NewScanner(c); commands.Scan(); {
		switch verb, argument, _ := strings.Cut(commands.Text(), " "); verb {
		case "USER":
			reply("230 you are in")
		case "PWD":
			reply(`257 "/"`)
		case "PORT":
			client = parsePort(argument)
			reply("200 noted")
		case "TYPE":
			reply("200 noted")
		case "RETR":
			reply("150 it comes")
			if err := w.sendFile(client); err != nil {
				reply("425 " + err.Error())
			} else {
				reply("226 it came")
			}
		case "QUIT":
			reply("221 until next time")
			return
		default:
			reply("502 not here")
		}
	}
}

// parsePort reads the six numbers of an address and a port.
func parsePort(argument string) netip.AddrPort {
	var ip [4]byte
	var high, low byte
	fmt.Sscanf(argument, "%d,%d,%d,%d,%d,%d", &ip[0], &ip[1], &ip[2], &ip[3], &high, &low)
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(high)<<8|uint16(low))
}

func (w *webNode) sendFile(client netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := w.dial(ctx, "tcp", client.String())
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.WriteString(c, told)
	return err
}
