//go:build !js

// Node is the program that meshnet.js runs in a worker of a web page: a node of
// the mesh that is told from outside what to do. It is compiled with GOOS=js and
// GOARCH=wasm; package browser says how, and what the page sees of it.
package main

import "fmt"

func main() { fmt.Println("This program is for web pages: compile it with GOOS=js GOARCH=wasm.") }
