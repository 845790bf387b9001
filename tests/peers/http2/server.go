// go run server.go CERT KEY: net/http's HTTP/2 server, which says what it was asked, with a trailer. Prints its port.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, _ := io.Copy(io.Discard, r.Body)
		authorization := r.Header.Get("Authorization")
		if authorization == "" {
			authorization = "-"
		}
		w.Header().Set("Trailer", "X-Check")
		fmt.Fprintf(w, "%s %s %s %d", r.Method, r.URL.Path, authorization, size)
		w.Header().Set("X-Check", "whole")
	})
	panic(http.ServeTLS(listener, handler, os.Args[1], os.Args[2]))
}
