package meshnet

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// WriteMetrics writes the node's metrics in Prometheus' text format, version
// 0.0.4, as of now. Their names begin with "meshnet_". It is an error when w
// does not take them.
//
//	http.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) { srv.WriteMetrics(w) })
func (s *Server) WriteMetrics(w io.Writer) error {
	status := s.Status()
	var m metrics
	m.traffic(s.Counters())
	m.node(status)
	m.peers(status.Peers)
	_, err := w.Write(m.text.Bytes())
	if err != nil {
		return fmt.Errorf("meshnet: writing metrics: %w", err)
	}
	return nil
}

// metrics is a page of them in the making.
type metrics struct{ text bytes.Buffer }

// family begins the metrics of one name; kind is "counter" or "gauge".
func (m *metrics) family(name, kind, help string) {
	fmt.Fprintf(&m.text, "# HELP meshnet_%s %s\n# TYPE meshnet_%s %s\n", name, help, name, kind)
}

// value writes one metric; label, unless it is empty, is a name and its value.
func (m *metrics) value(name string, n float64, label ...string) {
	m.text.WriteString("meshnet_" + name)
	if len(label) == 2 {
		fmt.Fprintf(&m.text, "{%s=\"%s\"}", label[0], escapeLabel(label[1]))
	}
	m.text.WriteString(" " + strconv.FormatFloat(n, 'f', -1, 64) + "\n")
}

func escapeLabel(value string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value)
}

func (m *metrics) traffic(c Counters) {
	m.family("packets_total", "counter", "IP packets inside the tunnel.")
	m.value("packets_total", float64(c.PacketsSent), "direction", "sent")
	m.value("packets_total", float64(c.PacketsReceived), "direction", "received")
	m.family("bytes_total", "counter", "Bytes of IP packets inside the tunnel.")
	m.value("bytes_total", float64(c.BytesSent), "direction", "sent")
	m.value("bytes_total", float64(c.BytesReceived), "direction", "received")
	m.family("dropped_packets_total", "counter", "Packets that were not let in.")
	for _, reason := range slices.Sorted(maps.Keys(c.Dropped)) {
		m.value("dropped_packets_total", float64(c.Dropped[reason]), "reason", reason)
	}
}

func (m *metrics) node(s *Status) {
	m.family("state", "gauge", "1 for the state of the node.")
	m.value("state", 1, "state", string(s.State))
	m.family("up", "gauge", "Whether the node is a member of the mesh.")
	m.value("up", oneIf(s.State == StateRunning))
	m.family("health_problems", "gauge", "What keeps the node from working well.")
	m.value("health_problems", float64(len(s.Health)))
	if at := s.Self.KeyExpiry; !at.IsZero() {
		m.family("key_expiry_timestamp_seconds", "gauge", "When the node's key expires.")
		m.value("key_expiry_timestamp_seconds", float64(at.Unix()))
	}
}

// peers counts them by path. Each by name would be as many metrics as the mesh
// has pairs of nodes.
func (m *metrics) peers(peers []PeerStatus) {
	var online int
	paths := map[string]int{"direct": 0, "relay": 0, "none": 0}
	var sent, received int64
	for _, p := range peers {
		paths[p.Path.kind()]++
		sent, received = sent+p.BytesSent, received+p.BytesReceived
		if p.Online {
			online++
		}
	}
	m.family("peers", "gauge", "Peers by the path that packets take to them.")
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		m.value("peers", float64(paths[path]), "path", path)
	}
	m.family("peers_online", "gauge", "Peers that the coordinator calls online.")
	m.value("peers_online", float64(online))
	m.family("wireguard_bytes", "gauge", "Bytes of WireGuard packets of the present peers.")
	m.value("wireguard_bytes", float64(sent), "direction", "sent")
	m.value("wireguard_bytes", float64(received), "direction", "received")
}

// kind is "direct", "relay" or "none".
func (p Path) kind() string {
	switch {
	case p.Direct.IsValid():
		return "direct"
	case p.Relay != "":
		return "relay"
	}
	return "none"
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
