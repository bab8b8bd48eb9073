package meshnet

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/meshnet-go/meshnet/internal/dns"
)

const (
	// serverPatience is how long a DNS server may take, and serverRounds how
	// often each is asked.
	serverPatience = 2 * time.Second
	serverRounds   = 2

	maxAnswerSize = 1232 // bytes of an answer by UDP: what fits every path
)

// ask asks the DNS servers for a name, one after the other, through the mesh.
func (n *node) ask(ctx context.Context, v view, q dns.Question) (answer dns.Answer, err error) {
	var servers []netip.AddrPort
	for _, server := range v.netMap.Servers.For(q.Name) {
		if n.cfg.routes.reachable(v.netMap, server.Addr(), time.Now()) == nil {
			servers = append(servers, server)
		}
	}
	if len(servers) == 0 {
		return answer, notFound(q.Name)
	}
	var failure *net.DNSError
	for range serverRounds {
		for _, server := range servers {
			answer, err = n.askServer(ctx, server, q)
			switch {
			case err == nil && answer.NoSuchName:
				return answer, &net.DNSError{Err: "no such name", Name: q.Name, Server: server.String(), IsNotFound: true}
			case err == nil:
				return answer, nil
			}
			timeout := errors.Is(err, os.ErrDeadlineExceeded)
			failure = &net.DNSError{UnwrapErr: err, Err: err.Error(), Name: q.Name, Server: server.String(), IsTimeout: timeout, IsTemporary: true}
			if ctx.Err() != nil {
				return answer, failure
			}
		}
	}
	return answer, failure
}

// askServer asks one server, by UDP, and by TCP when the answer is long.
func (n *node) askServer(ctx context.Context, server netip.AddrPort, q dns.Question) (dns.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	answer, err := n.exchange(ctx, "udp", server, q, overUDP)
	if err == nil && answer.Truncated {
		return n.exchange(ctx, "tcp", server, q, overTCP)
	}
	return answer, err
}

// exchange sends a question, and waits for its answer.
func (n *node) exchange(ctx context.Context, proto string, server netip.AddrPort, q dns.Question, carry func(net.Conn, dns.Question) (dns.Answer, error)) (answer dns.Answer, err error) {
	conn, err := n.dial(ctx, proto, server)
	if err != nil {
		return answer, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	var id [2]byte
	rand.Read(id[:])
	q.ID = binary.BigEndian.Uint16(id[:])
	answer, err = carry(conn, q)
	if ctx.Err() != nil && err != nil {
		err = os.ErrDeadlineExceeded
	}
	return answer, err
}

func overUDP(conn net.Conn, q dns.Question) (answer dns.Answer, err error) {
	message, err := q.Append(nil)
	if err != nil {
		return answer, err
	}
	if _, err := conn.Write(message); err != nil {
		return answer, err
	}
	buf := make([]byte, maxAnswerSize)
	for {
		size, err := conn.Read(buf)
		if err != nil {
			return answer, err
		}
		if answer, err = q.Parse(buf[:size]); !errors.Is(err, dns.ErrOther) {
			return answer, err
		}
	}
}

// overTCP has the length of each message before it.
func overTCP(conn net.Conn, q dns.Question) (answer dns.Answer, err error) {
	message, err := q.Append(make([]byte, 2))
	if err != nil {
		return answer, err
	}
	binary.BigEndian.PutUint16(message, uint16(len(message)-2))
	if _, err := conn.Write(message); err != nil {
		return answer, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return answer, err
	}
	message = make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, message); err != nil {
		return answer, err
	}
	return q.Parse(message)
}
