// A small interception proxy on Go's standard library: what the Go peers (iron-proxy, Agent Vault, clawpatrol,
// smokescreen) run on, and nothing around it. It is a peer of the bench and no product.
//
// What it does as the other columns do: proxy authentication, an allow-list of host and port, a leaf for the CONNECT host
// signed by the bench's CA (P-256, cached), TLS 1.3 without session resumption on both sides, upstream certificates
// verified, kept upstream connections shared by all tunnels, hop-by-hop fields removed, a log line per request, which is
// written at once, as Go's own log package does. Who shows the second token gets a credential in the place of the client's
// own; the bytes of the third are passed on.
//
// What it leaves out: rules (methods, paths, several clients), strict framing beyond net/http's, one name for SNI, Host and
// target, address checks after resolution, quotas, limits and deadlines, connections apart by client and credential,
// revocation of what is open, a log that is known to be written, HTTP/2, SOCKS, looking for credentials in answers.
// Each of those costs something, and none is counted here.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"flag"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"sync"
	"time"
)

var (
	listen      = flag.String("listen", "", "address of the proxy port")
	caDir       = flag.String("ca-dir", "", "folder with ca.crt and ca.key, which signs leaves")
	upstreamCA  = flag.String("upstream-ca", "", "the CA that upstreams are verified against")
	allow       = flag.String("allow", "", "the one HOST:PORT that may be reached")
	plainUser   = flag.String("user", "", "NAME:TOKEN of the client that is looked into")
	secretUser  = flag.String("secret-user", "", "the same of the client whose requests get the credential")
	passingUser = flag.String("passing-user", "", "the same of the client whose bytes are passed on")
	credential  = flag.String("credential", "", "what requests get as Authorization")
	logFile     = flag.String("log", "", "file for a line per request")
)

func main() {
	flag.Parse()
	file, err := os.OpenFile(*logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	must(err)
	lines := log.New(file, "", log.LstdFlags|log.Lmicroseconds|log.LUTC)
	transport := newTransport()
	proxy := &proxy{
		leaves:   newLeaves(*caDir),
		plain:    newHandler(lines, transport, ""),
		injected: newHandler(lines, transport, *credential),
	}
	server := &http.Server{Handler: proxy, ErrorLog: log.New(os.Stderr, "", 0)}
	server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	listener, err := net.Listen("tcp", *listen)
	must(err)
	must(server.Serve(listener))
}

// proxy answers CONNECT; what is inside goes to one of the handlers.
type proxy struct {
	leaves          *leaves
	plain, injected http.Handler
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	shown := r.Header.Get("Proxy-Authorization")
	isPassing := shows(shown, *passingUser)
	requests := p.plain
	if shows(shown, *secretUser) {
		requests = p.injected
	} else if !isPassing && !shows(shown, *plainUser) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="bench"`)
		http.Error(w, "who are you?", http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect || r.Host != *allow {
		http.Error(w, "not allowed", http.StatusForbidden)
		return
	}
	client, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if buffered.Reader.Buffered() > 0 { // nobody speaks before the answer
		client.Close()
		return
	}
	if _, err = io.WriteString(client, "HTTP/1.1 200 Connection Established\r\n\r\n"); err != nil {
		client.Close()
		return
	}
	if isPassing {
		pass(client, r.Host)
		return
	}
	host, _, _ := net.SplitHostPort(r.Host)
	inner := tls.Server(client, p.leaves.configFor(host))
	if err = inner.Handshake(); err != nil {
		client.Close()
		return
	}
	inside := &http.Server{Handler: requests, ErrorLog: log.New(io.Discard, "", 0)}
	inside.Serve(&once{conn: inner})
}

func shows(header, who string) bool {
	expected := "Basic " + base64.StdEncoding.EncodeToString([]byte(who))
	return who != "" && subtle.ConstantTimeCompare([]byte(header), []byte(expected)) == 1
}

// pass joins two connections; between two of TCP the kernel does it (splice).
func pass(client net.Conn, target string) {
	defer client.Close()
	upstream, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer upstream.Close()
	go func() {
		io.Copy(upstream, client)
		upstream.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(client, upstream)
}

// once is a listener of one connection that is open already.
type once struct {
	conn net.Conn
	sync.Mutex
}

func (o *once) Accept() (net.Conn, error) {
	o.Lock()
	defer o.Unlock()
	if o.conn == nil {
		return nil, io.EOF // its server is done; the connection goes on
	}
	conn := o.conn
	o.conn = nil
	return conn, nil
}

func (o *once) Close() error   { return nil }
func (o *once) Addr() net.Addr { return &net.TCPAddr{} }

func newTransport() *http.Transport {
	roots := x509.NewCertPool()
	pemBytes, err := os.ReadFile(*upstreamCA)
	must(err)
	roots.AppendCertsFromPEM(pemBytes)
	return &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true},
		DisableCompression:  true,
		MaxIdleConnsPerHost: 10_000,
		IdleConnTimeout:     10 * time.Minute,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

// newHandler forwards what is inside of tunnels, with a credential unless that is empty.
func newHandler(lines *log.Logger, transport *http.Transport, credential string) http.Handler {
	forwarding := &httputil.ReverseProxy{
		Director: func(r *http.Request) {
			r.URL.Scheme = "https"
			r.URL.Host = *allow
			r.Header["X-Forwarded-For"] = nil // not added
			if credential != "" {
				r.Header.Set("Authorization", credential)
			}
		},
		Transport:  transport,
		BufferPool: &buffers{},
		ErrorLog:   log.New(os.Stderr, "", 0),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		startedAt := time.Now()
		seen := &counted{ResponseWriter: w}
		path := r.URL.Path
		forwarding.ServeHTTP(seen, r)
		lines.Printf("allow method=%s host=%s path=%q status=%d received=%d duration=%s src=%s",
			r.Method, *allow, path, seen.status, seen.bytes, time.Since(startedAt), r.RemoteAddr)
	})
}

// counted is an answer of which the status and the bytes are kept for the log.
type counted struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (c *counted) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes += int64(n)
	return n, err
}

func (c *counted) Flush() { c.ResponseWriter.(http.Flusher).Flush() }

// buffers are used again by one answer after the other.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32*1024)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }

// leaves makes a certificate for each host, once.
type leaves struct {
	ca    *x509.Certificate
	caKey any
	mutex sync.Mutex
	known map[string]*tls.Config
}

func newLeaves(dir string) *leaves {
	certPEM, err := os.ReadFile(dir + "/ca.crt")
	must(err)
	certBlock, _ := pem.Decode(certPEM)
	ca, err := x509.ParseCertificate(certBlock.Bytes)
	must(err)
	keyPEM, err := os.ReadFile(dir + "/ca.key")
	must(err)
	keyBlock, _ := pem.Decode(keyPEM)
	caKey, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	must(err)
	return &leaves{ca: ca, caKey: caKey, known: map[string]*tls.Config{}}
}

func (l *leaves) configFor(host string) *tls.Config {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if config := l.known[host]; config != nil {
		return config
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	must(err)
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: host},
		DNSNames:     []string{host},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, l.ca, &key.PublicKey, l.caKey)
	must(err)
	config := &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		NextProtos:             []string{"http/1.1"},
	}
	l.known[host] = config
	return config
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
