package redis

import (
	"embed"
	"fmt"
	"path"

	"github.com/redis/rueidis"
)

//go:embed scripts/*.lua
var scriptFiles embed.FS

// scripts are what changes or reads the log in one step.
type scripts struct {
	append, prove *rueidis.Lua
	snapshot      string // which is sent whole, on a connection of its own
}

// logScripts returns the scripts of logs of a format and a number of slots.
//
// They are marked as able to write, all of them: Redis runs such scripts on a primary
// only, and while that has the replicas it is told to need. They may be run when the
// memory limit is reached: a record that is missing costs more than it takes.
func logScripts(format, slots int) scripts {
	begin := beginning
	for _, c := range []struct {
		name  string
		value any // an integer
	}{
		{"FORMAT", format},
		{"SIZE", slots},
		{"HEADER", headerSize},
		{"MAX_NUMBER", uint64(maxNumber)},
		{"MAX_SLOTS", maxSlots},
		{"MIN_RECORD", prefixSize + minBodySize},
		{"MAX_RECORD", maxRecordSize},
		{"MAX_MARKS", maxMarks},
		{"MAX_MARKED", maxMarked},
		{"MAX_RECORDS", maxRecords},
		{"MAX_REPLY", maxReply},
	} {
		begin += fmt.Sprintf("local %s = %d\n", c.name, c.value)
	}
	begin += readScript("prelude")
	return scripts{
		append:   rueidis.NewLuaScript(begin + readScript("append")),
		prove:    rueidis.NewLuaScript(begin + readScript("prove")),
		snapshot: begin + readScript("snapshot"),
	}
}

// beginning is what all scripts begin with that change anything.
var beginning = "#!lua flags=allow-oom\n" + readScript("call")

// unlock gives a lock back.
var unlock = rueidis.NewLuaScript(beginning + readScript("unlock"))

// permissions tells which commands the user may call.
var permissions = readScript("permissions")

func readScript(name string) string {
	text, err := scriptFiles.ReadFile(path.Join("scripts", name+".lua"))
	if err != nil {
		panic(err) // it is part of the program
	}
	return string(text)
}
