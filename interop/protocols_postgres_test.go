package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// postgres is a database server of its own, which is reached by a Unix socket.
type postgres struct {
	t    *testing.T
	bin  string // directory of its programs
	dir  string
	user *syscall.Credential // it does not run as root
}

func startPostgres(t *testing.T) *postgres {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	check(t, "PostgreSQL is looked for", err)
	if len(found) == 0 {
		t.Fatal("there is no PostgreSQL; make deps installs it")
	}
	dir, err := os.MkdirTemp("", "postgres") // where others than root get
	check(t, "there is a directory", err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &postgres{t: t, bin: filepath.Dir(found[len(found)-1]), dir: dir, user: unprivileged(t, dir)}
	p.run("initdb", "-D", p.data(), "-U", "mesh", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
	// Its own control program waits until it answers, and in the end until it is gone.
	p.run("pg_ctl", "-D", p.data(), "-w", "-l", filepath.Join(dir, "log"), "-o", "-c listen_addresses='' -c fsync=off -k "+dir, "start")
	t.Cleanup(func() { p.run("pg_ctl", "-D", p.data(), "-w", "-m", "immediate", "stop") })
	return p
}

// unprivileged gives dir to somebody who is not root, if we are.
func unprivileged(t *testing.T, dir string) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	check(t, "the package has made a user", err)
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	check(t, "the directory is that user's", os.Chown(dir, uid, gid))
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (p *postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *postgres) run(name string, args ...string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.user}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // the server keeps them
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		p.t.Fatalf("%s: %v\n%s", name, err, out.Bytes())
	}
}

// serve lets the mesh reach the database.
func (p *postgres) serve(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			own, err := net.Dial("unix", filepath.Join(p.dir, ".s.PGSQL.5432"))
			if err != nil {
				p.t.Error(err)
				return
			}
			defer own.Close()
			go func() {
				io.Copy(own, conn)
				own.(*net.UnixConn).CloseWrite()
			}()
			io.Copy(conn, own)
		}()
	}
}

func TestPostgreSQLOverMesh(t *testing.T) {
	p := startPostgres(t)
	overMesh(t, func(t *testing.T, server, client *meshnetNode) {
		ln, err := server.Listen("tcp", ":5432")
		check(t, "the server listens", err)
		go p.serve(ln)
		config, err := pgx.ParseConfig("postgres://mesh@server:5432/postgres?sslmode=disable")
		check(t, "the address is understood", err)
		config.DialFunc = client.Dial
		config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
		connect := func() *pgx.Conn {
			t.Helper()
			c, err := pgx.ConnectConfig(within(t, 20*time.Second), config)
			check(t, "the client connects", err)
			t.Cleanup(func() { c.Close(context.Background()) })
			return c
		}
		one, two := connect(), connect()
		copiesMuch(t, one)
		isNotified(t, one, two)
		isCancelled(t, one)
	})
}

// copiesMuch writes and reads some megabytes.
func copiesMuch(t *testing.T, c *pgx.Conn) {
	t.Helper()
	const rows = 50_000
	ctx := within(t, time.Minute)
	_, err := c.Exec(ctx, "CREATE TEMPORARY TABLE things (id int, name text)")
	check(t, "a table is made", err)
	name := func(i int) string { return strings.Repeat(fmt.Sprint(i, " "), 10) }
	n, err := c.CopyFrom(ctx, pgx.Identifier{"things"}, []string{"id", "name"},
		pgx.CopyFromSlice(rows, func(i int) ([]any, error) { return []any{i, name(i)}, nil }))
	check(t, "rows are copied", err)
	equal(t, "the number of rows that were copied", n, int64(rows))
	all, err := c.Query(ctx, "SELECT id, name FROM things ORDER BY id")
	check(t, "they are asked for", err)
	next := 0
	for all.Next() {
		var id int
		var text string
		check(t, "a row is read", all.Scan(&id, &text))
		if id != next || text != name(id) {
			t.Fatalf("row %d is %d, %q", next, id, text)
		}
		next++
	}
	check(t, "all rows come", all.Err())
	equal(t, "the number of rows that came", next, rows)
}

// isNotified has one client wait for what another says.
func isNotified(t *testing.T, c, other *pgx.Conn) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	_, err := c.Exec(ctx, "LISTEN news")
	check(t, "one listens", err)
	_, err = other.Exec(ctx, "NOTIFY news, 'it rains'")
	check(t, "another speaks", err)
	heard, err := c.WaitForNotification(ctx)
	check(t, "it is heard", err)
	equal(t, "what is heard", heard.Payload, "it rains")
}

// isCancelled ends a query by a second connection, as PostgreSQL wants it.
func isCancelled(t *testing.T, c *pgx.Conn) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	ended := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, "SELECT pg_sleep(60)")
		ended <- err
	}()
	eventually(t, "the query is cancelled", func(ctx context.Context) error {
		if err := c.PgConn().CancelRequest(ctx); err != nil {
			return err
		}
		select {
		case err := <-ended:
			var pgErr *pgconn.PgError
			if !errors.As(err, &pgErr) || pgErr.Code != "57014" {
				t.Fatalf("it ends with %v", err)
			}
			return nil
		default:
			return errors.New("it goes on")
		}
	})
}
