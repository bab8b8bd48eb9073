package meshnet_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"github.com/meshnet-go/meshnet"
)

// A capture of the web traffic of a node. A program would write it to a file,
// and Wireshark would open that.
func ExampleServer_Capture() {
	controlURL, authKey, stop := startMesh()
	defer stop()

	srv := &meshnet.Server{Hostname: "node", ControlURL: controlURL, AuthKey: authKey, Ephemeral: true}
	defer srv.Close()
	var file bytes.Buffer
	capture, err := srv.Capture(&file, meshnet.CaptureOptions{
		Filter: func(p meshnet.CapturedPacket) bool { return p.Src.Port() == 80 || p.Dst.Port() == 80 },
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := srv.Up(context.Background()); err != nil {
		log.Fatal(err)
	}
	// ...
	if err := capture.Stop(); err != nil {
		log.Fatal(err)
	}
	packets, missing := capture.Counts()
	fmt.Println(file.Len() > 0, packets, missing)
	// Output: true 0 0
}
