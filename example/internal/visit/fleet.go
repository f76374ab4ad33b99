package visit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/cachegen/cachegen/example/blog/sqlite"
	"github.com/cachegen/cachegen/example/internal/sample"
)

// Processes says where several processes that serve one blog meet, and how one of them
// is started.
type Processes struct {
	Redis   string           // host:port
	Command func() *exec.Cmd // of a process that calls Serve with its standard input and output
}

// A fleet is the processes that are running, and the database that they share, which
// is of their own.
type fleet struct {
	Processes
	dir   string
	ships []*remote
}

// launch makes the database, and starts so many processes.
func launch(ctx context.Context, p Processes, size int) (*fleet, error) {
	dir, err := os.MkdirTemp("", "cachegen-example-")
	if err != nil {
		return nil, err
	}
	f := &fleet{Processes: p, dir: dir}
	if err = f.fill(ctx); err != nil {
		err = fmt.Errorf("fill the database: %w", err)
	}
	for err == nil && len(f.ships) < size {
		_, err = f.add(ctx)
	}
	if err != nil {
		return nil, errors.Join(interrupted(ctx, err), f.close())
	}
	return f, nil
}

func (f *fleet) fill(ctx context.Context) error {
	db, err := sqlite.Open(ctx, f.database())
	if err != nil {
		return err
	}
	return errors.Join(sample.Fill(ctx, db.Posts(), db.Authors(), db.Comments()), db.Close())
}

func (f *fleet) database() string { return filepath.Join(f.dir, "blog.db") }

// add starts one more process, and returns how long it took to open the blog.
func (f *fleet) add(ctx context.Context) (took time.Duration, err error) {
	first := len(f.ships) == 0
	r, err := start(f.Command(), len(f.ships)+1)
	if err != nil {
		return 0, err
	}
	f.ships = append(f.ships, r)
	return call[time.Duration](ctx, r, "Open", Setup{f.database(), f.Redis, first})
}

// close ends the processes, and removes the database.
func (f *fleet) close() error {
	var errs []error
	for _, r := range f.ships {
		errs = append(errs, r.stop())
	}
	return errors.Join(append(errs, os.RemoveAll(f.dir))...)
}

// A remote is a process, as seen by the one that started it.
type remote struct {
	name   string
	cmd    *exec.Cmd
	client *rpc.Client
}

func start(cmd *exec.Cmd, number int) (*remote, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	client := rpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	return &remote{fmt.Sprintf("process %d", number), cmd, client}, nil
}

// stop ends the process: it has done what it was told, and its input ends.
func (r *remote) stop() error {
	r.client.Close() // fails if the process has ended, of which Wait knows more
	late := time.AfterFunc(patience, func() { r.cmd.Process.Kill() })
	defer late.Stop()
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	return nil
}

// call calls a method of a process.
func call[Reply any](ctx context.Context, r *remote, method string, arg any) (reply Reply, err error) {
	done := r.client.Go(service+"."+method, arg, &reply, make(chan *rpc.Call, 1)).Done
	select {
	case made := <-done:
		err = made.Error
	case <-ctx.Done():
		return *new(Reply), ctx.Err() // the reply may still be on its way
	}
	if err != nil {
		err = fmt.Errorf("%s: %s: %w", r.name, method, err)
	}
	return reply, err
}
