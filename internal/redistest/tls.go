package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// StartTLS is [Start] for a server that takes TLS as well, at [Server.TLSAddr]. It has a
// certificate of its own making, and wants one of its clients, unless it is told otherwise by
// --tls-auth-clients no. The binary has to know of TLS.
func StartTLS(t testing.TB, args ...string) *Server {
	t.Helper()
	made, err := makeCertificates(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, args: args, tls: made}
	s.launch()
	return s
}

// TLSAddr returns the address, host and port, at which the server takes TLS.
func (s *Server) TLSAddr() string { return address(s.tlsPort()) }

// TLSConfig returns what a client needs to trust the server, and the certificate that the
// server wants of a client. Each call makes another.
func (s *Server) TLSConfig() *tls.Config {
	return &tls.Config{RootCAs: s.tls.roots, Certificates: []tls.Certificate{s.tls.client}}
}

// tlsPort is one that freePort has seen to be free. Only nodes of a cluster need it.
func (s *Server) tlsPort() int { return s.port + busOffset }

// certificates are those of a server and a client, by an authority of their own.
type certificates struct {
	dir    string // with authority.pem, server.pem and server.key
	roots  *x509.CertPool
	client tls.Certificate
}

func (c *certificates) args(port int) []string {
	return []string{
		"--tls-port", strconv.Itoa(port),
		"--tls-ca-cert-file", filepath.Join(c.dir, "authority.pem"),
		"--tls-cert-file", filepath.Join(c.dir, "server.pem"),
		"--tls-key-file", filepath.Join(c.dir, "server.key"),
	}
}

func makeCertificates(dir string) (*certificates, error) {
	c := &certificates{dir: dir, roots: x509.NewCertPool()}
	authority, err := makePair("authority", nil)
	if err != nil {
		return nil, err
	}
	c.roots.AddCert(authority.Leaf)
	server, err := makePair("server", &authority)
	if err != nil {
		return nil, err
	}
	if c.client, err = makePair("client", &authority); err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		return nil, err
	}
	for name, block := range map[string]*pem.Block{
		"authority.pem": {Type: "CERTIFICATE", Bytes: authority.Leaf.Raw},
		"server.pem":    {Type: "CERTIFICATE", Bytes: server.Leaf.Raw},
		"server.key":    {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// makePair makes a certificate for this machine and its key, signed by an authority, or as one.
func makePair(name string, authority *tls.Certificate) (tls.Certificate, error) {
	var none tls.Certificate
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return none, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	parent, signer := template, any(key)
	if authority == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		parent, signer = authority.Leaf, authority.PrivateKey
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		template.KeyUsage = x509.KeyUsageDigitalSignature
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return none, err
	}
	leaf, err := x509.ParseCertificate(raw)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}, err
}
