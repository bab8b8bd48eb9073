module github.com/meshnet-go/meshnet

go 1.26.3

require golang.org/x/crypto v0.58.0

require golang.org/x/sys v0.49.0 // indirect
