package netmon

import "io"

// watch is a route socket: what is read from it means that something changed.
type watch = io.ReadCloser

// watchRoutes has changes of the host's network be hints, if the host tells.
func (m *Monitor) watchRoutes() {
	routes, err := openRoutes()
	if err != nil {
		m.log.Debug("the network is looked at, but not watched", "err", err)
		return
	}
	m.routes = routes
	m.running.Go(m.readRoutes)
}

func (m *Monitor) readRoutes() {
	buf := make([]byte, 4096) // what is longer is cut, and means the same
	for {
		n, err := m.routes.Read(buf)
		if err != nil && !tooMuch(err) {
			m.log.Debug("the network is not watched any more", "err", err)
			return
		}
		if err != nil || matters(buf[:n]) {
			notify(m.hints)
		}
	}
}
