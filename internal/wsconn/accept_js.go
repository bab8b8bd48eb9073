package wsconn

import (
	"errors"
	"net"
	"net/http"
)

// Accept refuses: there are no WebSockets to a browser.
func Accept(w http.ResponseWriter, _ *http.Request, _ string) (net.Conn, error) {
	http.Error(w, "no WebSockets here", http.StatusNotImplemented)
	return nil, errors.New("a browser accepts no WebSockets")
}
