package visit

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// asProcess makes the test binary one of several processes.
const asProcess = "CACHEGEN_EXAMPLE_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(asProcess) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := Serve(os.Stdin, os.Stdout, cacheruntime.WithLogger(slog.New(slog.DiscardHandler))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// program is a command that starts this binary as a process.
func program(t *testing.T) func(number int) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return func(int) *exec.Cmd {
		cmd := exec.Command(self)
		// The race detector need not wait a second before it lets a process end.
		cmd.Env = append(os.Environ(), asProcess+"=yes", "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
		cmd.Stderr = os.Stderr
		return cmd
	}
}
