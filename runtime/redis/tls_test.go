package redis

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
)

// withoutCertificate trusts a server and has no certificate for it.
func withoutCertificate(s *redistest.Server) *tls.Config {
	config := s.TLSConfig()
	config.Certificates = nil
	return config
}

func TestTLS(t *testing.T) {
	t.Parallel()
	lenient, strict := redistest.StartTLS(t, "--tls-auth-clients", "no"), redistest.StartTLS(t)
	for name, test := range map[string]struct {
		address string
		config  *tls.Config
	}{
		"any client":                {lenient.TLSAddr(), withoutCertificate(lenient)},
		"a client with certificate": {strict.TLSAddr(), strict.TLSConfig()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := retrying(test.address)
			options.RetryOnFailedConnect, options.TLSConfig = false, test.config
			exercise(t, openRetrying(t, options))
		})
	}
}

// Where one side wants TLS and the other does not, or a certificate, the error says so, though
// the servers say nothing.
func TestTLSThatIsNotAsExpected(t *testing.T) {
	t.Parallel()
	lenient, strict := redistest.StartTLS(t, "--tls-auth-clients", "no"), redistest.StartTLS(t)
	others := strict.TLSConfig()
	others.Certificates = lenient.TLSConfig().Certificates
	for name, test := range map[string]struct {
		address string
		config  *tls.Config
		want    []string // one of them
	}{
		// Whether the alert of the server arrives before it hangs up is left to chance.
		"no certificate":            {strict.TLSAddr(), withoutCertificate(strict), []string{"remote error: tls: certificate required", wantsCertificate}},
		"a certificate of others":   {strict.TLSAddr(), others, []string{"remote error: tls: unknown certificate authority", wantsCertificate}},
		"a server of others":        {strict.TLSAddr(), lenient.TLSConfig(), []string{"x509: certificate signed by unknown authority"}},
		"a plain client":            {lenient.TLSAddr(), nil, []string{wantsTLS}},
		"a plain server":            {lenient.Addr(), lenient.TLSConfig(), []string{takesTLS, "does not look like a TLS handshake"}},
		"a server that hangs":       {listen(t, nil), lenient.TLSConfig(), []string{takesTLS}},
		"a server that is no Redis": {listen(t, []byte("HTTP/1.1 400 Bad Request\r\n\r\n")), lenient.TLSConfig(), []string{"does not look like a TLS handshake"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tier, err := Open(t.Context(), Options{
				InitAddress: []string{test.address}, Namespace: "test", TLSConfig: test.config, LogTimeout: 500 * time.Millisecond,
			})
			if err == nil {
				tier.Close()
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if strings.Contains(err.Error(), want) {
					return
				}
			}
			t.Errorf("%v, want %q", err, test.want)
		})
	}
}
