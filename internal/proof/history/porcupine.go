package history

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// An input is what a call asks of one row, for porcupine.
type input struct {
	row     int
	what    string
	write   bool
	version int64 // written
	removed bool  // of a write: there is no row any more
	absent  bool  // of a read: there is no row at first
}

// An output is what a read saw.
type output struct {
	version int64
	absent  bool // then of any version
}

// A state is that of one row.
type state struct {
	version int64
	removed bool
}

// register is a row, to porcupine: a register whose writes take place in the order
// of their versions.
var register = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		byRow := map[int][]porcupine.Operation{}
		for _, op := range all {
			row := op.Input.(input).row
			byRow[row] = append(byRow[row], op)
		}
		var parts [][]porcupine.Operation
		for _, row := range slices.Sorted(maps.Keys(byRow)) {
			parts = append(parts, byRow[row])
		}
		return parts
	},
	Init: func() any { return state{} },
	Step: func(s, in, out any) (bool, any) {
		now, asked := s.(state), in.(input)
		if asked.write {
			return asked.version == now.version+1, state{asked.version, asked.removed}
		}
		gone := now.removed || now.version == 0 && asked.absent
		saw := out.(output)
		if saw.absent {
			return gone, now
		}
		return !gone && saw.version == now.version, now
	},
	DescribeOperation: func(in, out any) string {
		asked := in.(input)
		switch {
		case asked.write && asked.removed:
			return fmt.Sprintf("%s: row %d is gone as of version %d", asked.what, asked.row, asked.version)
		case asked.write:
			return fmt.Sprintf("%s: row %d has version %d", asked.what, asked.row, asked.version)
		case out.(output).absent:
			return fmt.Sprintf("%s → no row %d", asked.what, asked.row)
		}
		return fmt.Sprintf("%s → row %d, version %d", asked.what, asked.row, out.(output).version)
	},
	DescribeState: func(s any) string {
		if now := s.(state); now.removed {
			return fmt.Sprintf("gone (%d)", now.version)
		} else {
			return fmt.Sprint(now.version)
		}
	},
}

// Linearizable returns an error if porcupine finds no order of the calls, row by
// row, in which a row could have been written and read one call after the other, or
// does not come to an end in time. A timeout of 0 is none. What it takes can grow
// exponentially with the number of calls at the same time: it is for short
// histories, and agrees with [History.Unordered].
//
// A write takes place between its commit and its return: that nobody can see what
// is not committed is taken for granted, so that who has seen it has gone wrong.
func (h *History) Linearizable(timeout time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, part := range register.Partition(h.operations()) {
		row := part[0].Input.(input).row
		switch porcupine.CheckOperationsTimeout(register, part, timeout) {
		case porcupine.Illegal:
			return fmt.Errorf("row %d is not linearizable:\n%s", row, h.excerpt(row, 0, len(h.events)))
		case porcupine.Unknown:
			return fmt.Errorf("whether row %d is linearizable is not decided after %v: %d calls", row, timeout, len(part))
		}
	}
	return nil
}

// WriteVisualization writes a page for a browser to a file: the history as porcupine
// sees it, row by row, and how far it got with an order of the calls. A timeout as
// that of [History.Linearizable].
func (h *History) WriteVisualization(path string, timeout time.Duration) error {
	h.mu.Lock()
	_, info := porcupine.CheckOperationsVerbose(register, h.operations(), timeout)
	h.mu.Unlock()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = porcupine.Visualize(register, info, f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// operations is the history as porcupine wants it: an operation for each row that a
// call saw or wrote. The mutex is locked.
func (h *History) operations() []porcupine.Operation {
	var ops []porcupine.Operation
	clients := map[string]int{}
	for _, e := range h.events {
		c := e.call
		if e.kind != began {
			continue
		}
		client, ok := clients[c.client]
		if !ok {
			client = len(clients)
			clients[c.client] = client
		}
		end := int64(c.ended)
		if c.ended == open {
			end = int64(len(h.events))
		}
		for _, s := range c.sights {
			ops = append(ops, porcupine.Operation{
				ClientId: client,
				Input:    input{row: s.row, what: c.what, absent: h.row(s.row).absent},
				Call:     int64(c.began),
				Output:   output{s.version, s.absent},
				Return:   end,
			})
		}
		for _, w := range c.wrote {
			committed := h.row(w.row).commits[w.version-1]
			ops = append(ops, porcupine.Operation{
				ClientId: client,
				Input:    input{row: w.row, what: c.what, write: true, version: w.version, removed: committed.removed},
				Call:     int64(committed.at),
				Return:   end,
			})
		}
	}
	return ops
}
