package interop

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// webNode is the node that the proxies' users want to reach, with a service
// for each of them.
type webNode struct {
	*meshnetNode
	pages    *http.ServeMux
	ip4, ip6 netip.Addr
}

// What the node serves, and where.
const (
	echoPort    = "7" // TCP with half-close, and UDP
	chargenPort = "19"
	ftpPort     = "21"
	sshPort     = "22"
	dnsPort     = "53"
	closedPort  = "81"

	pageTitle = "A page on the mesh"
	told      = "told by the mesh" // at /told, and fetched by the page's script
)

// answer is what the node's DNS server says of every name.
var answer = netip.MustParseAddr("192.0.2.53")

const page = `<!doctype html>
<title>` + pageTitle + `</title>
<p id=told>nothing was told</p>
<script>
	fetch("/told").then(r => r.text()).then(text => document.getElementById("told").textContent = text)
</script>`

func startWeb(t *testing.T, tailnet *ownTailnet) *webNode {
	t.Helper()
	w := &webNode{meshnetNode: tailnet.startMeshnet(t, "web"), pages: http.NewServeMux()}
	w.ip4, w.ip6 = w.ips()
	w.pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, page) })
	w.pages.HandleFunc("GET /told", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, told) })
	w.pages.HandleFunc("GET /headers", func(w http.ResponseWriter, r *http.Request) { r.Header.Write(w) })
	w.pages.HandleFunc("GET /bytes/{n}", serveBytes)
	w.pages.HandleFunc("PUT /sum", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, sum(r.Body)) })

	cert, _ := selfSigned(t)
	w.serveHTTP(t, "80", nil)
	w.serveHTTP(t, "443", &tls.Config{Certificates: []tls.Certificate{cert}})
	w.serveTCP(t, echoPort, echo)
	w.serveTCP(t, chargenPort, func(c stream) { io.Copy(c, content(1<<40)) })
	w.serveTCP(t, ftpPort, w.serveFTP)
	w.serveUDP(t, echoPort, func(datagram []byte) []byte { return datagram })
	w.serveUDP(t, dnsPort, resolve)
	return w
}

func (w *webNode) serveHTTP(t *testing.T, port string, config *tls.Config) {
	t.Helper()
	ln, err := w.listen("tcp", ":"+port)
	check(t, "web listens on port "+port, err)
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	server := &http.Server{Handler: w.pages, ErrorLog: log.New(newLog(t, "web"), "", 0)}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
}

// serveTCP runs serve for every connection to a port, and closes it after that.
func (w *webNode) serveTCP(t *testing.T, port string, serve func(stream)) {
	t.Helper()
	ln, err := w.listen("tcp", ":"+port)
	check(t, "web listens on port "+port, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c.(stream))
			}()
		}
	}()
}

// serveUDP answers every datagram to a port.
func (w *webNode) serveUDP(t *testing.T, port string, reply func([]byte) []byte) {
	t.Helper()
	pc, err := w.listenPacket("udp", ":"+port)
	check(t, "web listens on UDP port "+port, err)
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			pc.WriteTo(reply(buf[:n]), from)
		}
	}()
}

// echo sends back what comes, and its end.
func echo(c stream) {
	io.Copy(c, c)
	c.CloseWrite()
}

// resolve answers a DNS query for an address.
func resolve(query []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil
	}
	m.Response, m.Additionals = true, nil
	for _, q := range m.Questions {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{A: answer.As4()},
		})
	}
	reply, err := m.Pack()
	if err != nil {
		return nil
	}
	return reply
}

// content is as many bytes, the same in every call.
func content(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{}), n)
}

func serveBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	io.Copy(w, content(n))
}

// sum returns a checksum of what can be read.
func sum(r io.Reader) string {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// held is a page that comes in two halves.
type held struct {
	path    string
	begun   chan struct{} // receives when a reader has the first half
	release chan struct{} // closed for the second to follow
}

const heldSize = 1 << 20 // of each half

// hold adds such a page.
func (w *webNode) hold(name string) *held {
	h := &held{path: "/held/" + name, begun: make(chan struct{}), release: make(chan struct{})}
	w.pages.HandleFunc("GET "+h.path, func(w http.ResponseWriter, r *http.Request) {
		body := content(2 * heldSize)
		io.CopyN(w, body, heldSize)
		w.(http.Flusher).Flush()
		h.begun <- struct{}{}
		select {
		case <-h.release:
			io.Copy(w, body)
		case <-r.Context().Done():
		}
	})
	return h
}
