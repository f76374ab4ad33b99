package redistest

import (
	"bufio"
	"crypto/tls"
	"testing"
	"time"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	ping := func(s *Server, config *tls.Config) (string, error) {
		conn, err := tls.Dial("tcp", s.TLSAddr(), config)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(waitLimit)); err != nil {
			return "", err
		}
		if _, err := conn.Write([]byte("PING\r\n")); err != nil {
			return "", err
		}
		return bufio.NewReader(conn).ReadString('\n')
	}
	strict, lenient := StartTLS(t), StartTLS(t, "--tls-auth-clients", "no")
	for _, s := range []*Server{strict, lenient} {
		s.Do("PING")
		if got, err := ping(s, s.TLSConfig()); got != "+PONG\r\n" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		anonymous := s.TLSConfig()
		anonymous.Certificates = nil
		if got, err := ping(s, anonymous); (err == nil) != (s == lenient) {
			t.Errorf("without a certificate: got %q, %v", got, err)
		}
		if got, err := ping(s, new(tls.Config)); err == nil {
			t.Errorf("without trust: got %q", got)
		}
	}
}
