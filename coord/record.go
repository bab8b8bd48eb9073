package coord

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// record is a piece of the state that is stored as an entry of its own, in
// JSON. A record is never changed once the state holds it: a changed copy
// takes its place. So snapshots share records, and a pointer that stayed the
// same says that nothing changed.
type record interface {
	entryKey() string
	// enter adds the record to the state's indexes, leave takes it out.
	enter(*state)
	leave(*state)
	// check returns what no sound record has.
	check() error
}

// The kinds of records are the first part of their keys. Of some there is but
// one, and the kind is the key.
const (
	kindTailnet     = "tailnet"
	kindLedger      = "ledger"
	kindCoordinator = "coordinator"
	kindNode        = "node"
	kindAuthKey     = "authkey"
	kindLogin       = "login"
	kindUser        = "user"
	kindPolicy      = "policy"
	kindDNS         = "dns"
	kindAdmin       = "admin"
	kindAuthority   = "authority"
)

// newRecord returns an empty record for the entry, or nil when it is of a kind
// that a later version of meshnet may know.
func newRecord(entryKey string) record {
	kind, _, _ := strings.Cut(entryKey, "/")
	switch kind {
	case kindTailnet:
		return new(tailnet)
	case kindLedger:
		return new(ledger)
	case kindCoordinator:
		return new(coordinator)
	case kindNode:
		return new(node)
	case kindAuthKey:
		return new(authKey)
	case kindLogin:
		return new(login)
	case kindUser:
		return new(user)
	case kindPolicy:
		return new(policyRecord)
	case kindDNS:
		return new(dnsRecord)
	case kindAdmin:
		return new(admin)
	case kindAuthority:
		return new(authority)
	}
	return nil
}

// parseRecord returns the record of an entry, or nil when it is of an unknown
// kind.
func parseRecord(e Entry) (record, error) {
	r := newRecord(e.Key)
	if r == nil {
		return nil, nil
	}
	err := json.Unmarshal(e.Value, r)
	if err == nil {
		err = r.check()
	}
	if err == nil && r.entryKey() != e.Key {
		err = errors.New("it says that it is " + r.entryKey())
	}
	if err != nil {
		return nil, fmt.Errorf("entry %.100q: %w", e.Key, err)
	}
	return r, nil
}

func entryKey(kind string, id int64) string { return kind + "/" + strconv.FormatInt(id, 10) }
