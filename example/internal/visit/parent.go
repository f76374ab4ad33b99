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

// ProcessOptions say where several processes that serve one blog meet, and how one of them
// is started.
type ProcessOptions struct {
	Redis   string                     // host:port
	Command func(number int) *exec.Cmd // of a process that calls Serve with its standard input and output
}

// A parent is this process where it has started others, its children, and owns the
// database that they share.
type parent struct {
	ProcessOptions
	dir      string // of the database
	children []*child
}

// startChildren makes the database, and starts so many children.
func startChildren(ctx context.Context, o ProcessOptions, n int) (*parent, error) {
	dir, err := os.MkdirTemp("", "cachegen-example-")
	if err != nil {
		return nil, err
	}
	p := &parent{ProcessOptions: o, dir: dir}
	if err = p.fill(ctx); err != nil {
		err = fmt.Errorf("fill the database: %w", err)
	}
	for err == nil && len(p.children) < n {
		_, err = p.startChild(ctx)
	}
	if err != nil {
		return nil, errors.Join(interrupted(ctx, err), p.close())
	}
	return p, nil
}

func (p *parent) fill(ctx context.Context) error {
	db, err := sqlite.Open(ctx, p.database())
	if err != nil {
		return err
	}
	return errors.Join(sample.Fill(ctx, db.Posts(), db.Authors(), db.Comments()), db.Close())
}

func (p *parent) database() string { return filepath.Join(p.dir, "blog.db") }

// startChild starts one more child, and returns how long it took to open the blog.
func (p *parent) startChild(ctx context.Context) (took time.Duration, err error) {
	number := len(p.children) + 1
	c, err := start(p.Command(number), number)
	if err != nil {
		return 0, err
	}
	p.children = append(p.children, c)
	return call[time.Duration](ctx, c, "Open", OpenArgs{p.database(), p.Redis, number == 1})
}

// close ends the children, and removes the database.
func (p *parent) close() error {
	var errs []error
	for _, c := range p.children {
		errs = append(errs, c.stop())
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// A child is a process as its parent sees it. The parent calls its [server] through a
// pipe.
type child struct {
	name   string
	cmd    *exec.Cmd
	client *rpc.Client
}

func start(cmd *exec.Cmd, number int) (*child, error) {
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
	return &child{fmt.Sprintf("process %d", number), cmd, client}, nil
}

// stop ends the process: it has done what it was told, and its input ends.
func (c *child) stop() error {
	c.client.Close() // fails if the process has ended, of which Wait knows more
	late := time.AfterFunc(callTimeout, func() { c.cmd.Process.Kill() })
	defer late.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// call calls a method of a child's server.
func call[Reply any](ctx context.Context, c *child, method string, arg any) (reply Reply, err error) {
	done := c.client.Go(service+"."+method, arg, &reply, make(chan *rpc.Call, 1)).Done
	select {
	case made := <-done:
		err = made.Error
	case <-ctx.Done():
		return *new(Reply), ctx.Err() // the reply may still be on its way
	}
	if err != nil {
		err = fmt.Errorf("%s: %s: %w", c.name, method, err)
	}
	return reply, err
}
