package main

func serveRouter() {}
