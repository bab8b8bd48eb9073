package meshnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// ErrNotMesh means that a connection is none that a [Server] made or accepted,
// so that nobody vouches for who is at its other end.
var ErrNotMesh = errors.New("not a connection of the mesh")

// PeerOf says who is at the other end of a connection that a [Server] accepted
// or dialed. It looks into what is wrapped around it, as far as that has a
// method NetConn() net.Conn, like [crypto/tls.Conn].
//
// The answer is what the network map says now of the node that the connection
// was made with. It is an error when that node is a member no more, when the
// other end is behind a node and not one itself, and [ErrNotMesh] when the
// connection has nothing to do with a mesh. Whoever serves the mesh and other
// networks by one handler decides on that.
func PeerOf(conn net.Conn) (*WhoIs, error) {
	found, ok := meshConn(conn)
	if !ok {
		return nil, fmt.Errorf("meshnet: who is at the other end: %w", ErrNotMesh)
	}
	return found.peer()
}

// A peered connection is one of ours.
type peered interface{ peer() (*WhoIs, error) }

// maxWrapped bounds how deep we look for a connection of ours: one that wraps
// itself has no end.
const maxWrapped = 16

func meshConn(conn net.Conn) (peered, bool) {
	for range maxWrapped {
		if ours, ok := conn.(peered); ok {
			return ours, true
		}
		wrapper, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil, false
		}
		conn = wrapper.NetConn()
	}
	return nil, false
}

// peer implements peered.
func (r remote) peer() (*WhoIs, error) {
	v := r.node.view.load()
	who, ok := r.node.whoIs(v, r.ip)
	switch {
	case v.netMap == nil:
		return nil, fmt.Errorf("meshnet: who is %v: this node is not in the mesh", r.ip)
	case !ok:
		return nil, fmt.Errorf("meshnet: no node of the mesh has the address %v", r.ip)
	case who.Node.ID != r.id:
		return nil, fmt.Errorf("meshnet: the node that had the address %v is a member no more", r.ip)
	}
	return who, nil
}

// connKey is the key under which [ConnContext] keeps the connection.
type connKey struct{}

// ConnContext is for the field of that name in an [http.Server]: with it
// handlers may call [PeerOfRequest].
//
//	server := &http.Server{Handler: handler, ConnContext: meshnet.ConnContext}
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// PeerOfRequest says who sent a request, as [PeerOf] does for the connection
// that it came by. The server must have [ConnContext].
func PeerOfRequest(r *http.Request) (*WhoIs, error) {
	conn, ok := r.Context().Value(connKey{}).(net.Conn)
	if !ok {
		return nil, errors.New("meshnet: who sent a request: the http.Server lacks ConnContext: meshnet.ConnContext")
	}
	return PeerOf(conn)
}

// Capabilities returns what the mesh's policy grants a peer towards this node
// under a name, such as "example.com/cap/edit": each value as a T, in the order
// of the policy. There are none when nothing is granted under that name, and
// when it is granted without a value, which is for
// [WhoIs].Capabilities to tell. It is an error when a value is not a T in JSON;
// then none is returned, so that nobody acts on half a policy.
func Capabilities[T any](who *WhoIs, name string) ([]T, error) {
	values := make([]T, len(who.Capabilities[name]))
	for i, raw := range who.Capabilities[name] {
		if err := json.Unmarshal(raw, &values[i]); err != nil {
			return nil, fmt.Errorf("meshnet: the value of capability %q: %w", name, err)
		}
	}
	return values, nil
}
