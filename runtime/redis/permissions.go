package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// The commands that a user of Redis needs to be allowed, complete, as "key" where a key
// stands. Those that scripts call are among them, but not eval, which asks.
var (
	logCommands = []string{
		"evalsha " + noScript + " 1 key", "xread COUNT 1 BLOCK 1 STREAMS key 0",
		"get key", "set key 0", "del key", "getrange key 0 0", "setrange key 0 0", "strlen key",
		"hget key 0", "hset key 0 0", "hdel key 0", "hlen key", "hgetall key",
		"xadd key 1-0 r 0", "xrange key - +", "xrevrange key + -",
	}
	entryCommands = []string{
		"evalsha " + noScript + " 1 key", "get key", "set key 0", "del key", "getrange key 0 0",
	}
	otherCommands   = []string{"info", "ping", "hello 3", "client|unblock 1"}
	clusterCommands = []string{"cluster|slots", "cluster|shards", "asking"}
)

const noScript = "0000000000000000000000000000000000000000"

// patterns are those of the keys of a namespace, as the rules of an ACL have them.
func (t *Tier) patterns() (log, entries string) {
	name := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(t.options.Namespace)
	return "~{" + name + "}:*", "~" + name + ":*"
}

// missing returns the rules of an ACL that allow what the user needs and may not do at a
// node. It takes the permission to run scripts, and returns the rule for that if it is not
// there.
func (t *Tier) missing(ctx context.Context, node rueidis.Client, cluster bool) ([]string, error) {
	var args []string
	add := func(commands []string, key string) {
		for _, command := range commands {
			words := strings.Fields(command)
			words = slices.Concat(strings.Split(words[0], "|"), words[1:])
			if i := slices.Index(words, "key"); i > 0 {
				words[i] = key
			}
			args = append(append(args, strconv.Itoa(len(words))), words...)
		}
	}
	others := otherCommands
	if cluster {
		others = slices.Concat(otherCommands, clusterCommands)
	}
	add(others, "")
	// All with both kinds of keys: a command that is refused with one kind and not with
	// the other lacks the keys.
	add(logCommands, t.keys[0])
	add(logCommands, t.key("entry", ""))

	allowed, err := call(ctx, t, t.options.LogTimeout, func(ctx context.Context) ([]int64, error) {
		// Not by its digest, which is one permission more.
		return node.Do(ctx, node.B().Eval().Script(permissions).Numkeys(0).Arg(args...).Build()).AsIntSlice()
	})
	if refused(err) {
		return []string{"+eval"}, nil
	}
	if err != nil {
		return nil, err
	}
	n := len(logCommands)
	if len(allowed) != len(others)+2*n {
		return nil, malformed("a list of permissions")
	}

	var rules []string
	for i, command := range others {
		if allowed[i] == 0 {
			rules = append(rules, rule(command))
		}
	}
	withLog, withEntries := allowed[len(others):len(others)+n], allowed[len(others)+n:]
	logPattern, entryPattern := t.patterns()
	var noLog, noEntries bool
	for i, command := range logCommands {
		needed := slices.Contains(entryCommands, command)
		switch {
		case withLog[i] == 0 && withEntries[i] == 0:
			rules = append(rules, rule(command))
		case withLog[i] == 0:
			noLog = true
		case withEntries[i] == 0 && needed:
			noEntries = true
		}
	}
	// With neither kind of keys nothing is known of the commands.
	nothing := !slices.Contains(withLog, 1) && !slices.Contains(withEntries, 1)
	if noLog || nothing {
		rules = append(rules, logPattern)
	}
	if noEntries || nothing {
		rules = append(rules, entryPattern)
	}
	return rules, nil
}

// rule returns the rule of an ACL that allows a command.
func rule(command string) string {
	name, _, _ := strings.Cut(command, " ")
	return "+" + name
}

// checkPermissions checks what the user may do at a node, which must not be found out
// when an invalidation is to be appended.
func (t *Tier) checkPermissions(ctx context.Context, address string, node rueidis.Client, cluster bool) error {
	rules, err := t.missing(ctx, node, cluster)
	if err != nil || len(rules) == 0 {
		// A node that is down, or still loads its data, must not keep a process from
		// starting, if it is not the one with the log, which is asked next.
		return nil
	}
	user := t.options.ClientOption.Username
	switch {
	case t.options.Client != nil || t.options.ClientOption.AuthCredentialsFn != nil:
		user = "<user>"
	case user == "":
		user = "default"
	}
	err = fmt.Errorf("redis: the user may not do all that is needed at %s: allow it by ACL SETUSER %s %s", address, user, strings.Join(rules, " "))
	if rules[0] == "+eval" && len(rules) == 1 {
		err = fmt.Errorf("%w (whether anything else is missing can be told then)", err)
	}
	return err
}

// refused reports whether an error says that the user may not do something, be it by a
// command or by a script.
func refused(err error) bool {
	if err, ok := rueidis.IsRedisErr(err); ok {
		text := err.Error()
		return strings.HasPrefix(text, "NOPERM") || strings.Contains(text, "user executing the script") || strings.Contains(text, "ACL failure")
	}
	return false
}
