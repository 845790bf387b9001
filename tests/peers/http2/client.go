// go run client.go HOST:PORT: net/http's client, with HTTP/2 through the proxy of the environment. CA is a file.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

func main() {
	pem, err := os.ReadFile(os.Getenv("CA"))
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	proxy, _ := url.Parse(os.Getenv("PROXY"))
	client := http.Client{Transport: &http.Transport{
		Proxy:             http.ProxyURL(proxy),
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
	}}
	ask := func(method, path, body string) {
		request, _ := http.NewRequest(method, "https://"+os.Args[1]+path, strings.NewReader(body))
		request.Header.Set("Authorization", "Bearer MINE")
		response, err := client.Do(request)
		if err != nil {
			panic(err)
		}
		text, _ := io.ReadAll(response.Body)
		said := string(text)
		if reason := response.Header.Get("X-Slicer-Proxy-Reason"); reason != "" {
			said = reason
		}
		if response.ProtoMajor != 2 {
			said = response.Proto
		}
		fmt.Println(response.StatusCode, said)
	}
	ask("GET", "/v1/a", "")
	ask("GET", "/other", "")
	ask("POST", "/v1/b", strings.Repeat("x", 300000))
}
