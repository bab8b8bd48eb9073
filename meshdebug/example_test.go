package meshdebug_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/meshdebug"
)

// The pages among others of a program, for who can reach its web server.
func ExampleHandler() {
	srv := &meshnet.Server{Hostname: "node"} // not started yet
	mux := http.NewServeMux()
	mux.Handle("/debug/mesh/", http.StripPrefix("/debug/mesh", meshdebug.Handler(srv, meshdebug.Options{Pprof: true})))
	web := httptest.NewServer(mux)
	defer web.Close()

	resp, err := http.Get(web.URL + "/debug/mesh/metrics")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "meshnet_state{") {
			fmt.Print(line)
		}
	}
	// Output: meshnet_state{state="stopped"} 1
}
