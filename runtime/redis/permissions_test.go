package redis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// permissionsInDoc returns the rules that the package comment has, for the namespace
// "other".
func permissionsInDoc(t *testing.T) (rules []string) {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "# Permissions")
	for line := range strings.Lines(section) {
		if line, ok := strings.CutPrefix(line, "//\t"); ok {
			rules = append(rules, strings.Fields(strings.ReplaceAll(line, "namespace", "other"))...)
		}
	}
	return rules
}

// setUser is the command that changes what the user "narrow" may do.
func setUser(rules ...string) []string {
	return append([]string{"ACL", "SETUSER", "narrow", "on", ">secret"}, rules...)
}

func withoutCluster(rules []string) []string {
	return slices.DeleteFunc(slices.Clone(rules), func(rule string) bool {
		return strings.HasPrefix(rule, "+cluster|") || rule == "+asking"
	})
}

// The documented permissions are enough, for everything.
func TestPermissions(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Do(setUser(withoutCluster(permissionsInDoc(t))...)...)
	tier := open(t, s, func(o *Options) { o.Username, o.Password, o.Namespace = "narrow", "secret", "other" })
	exercise(t, tier)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tier.Wait(ctx, cacheruntime.LogPosition{Number: 1 << 40}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: %v", err)
	}
	redistest.Until(t, "no client is blocked", func() bool { return s.Info("blocked_clients") == "0" })
	for _, entry := range s.Do("ACL", "LOG").([]any) {
		// The client asks every server whether it is one of a cluster, and tells it its name.
		if denied := fmt.Sprint(entry); !strings.Contains(denied, "object cluster|s") && !strings.Contains(denied, "object client|setinfo") {
			t.Errorf("denied: %s", denied)
		}
	}
}

// What is missing is named, and nothing else; when it is allowed there is a tier.
func TestPermissionsThatAreMissing(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	all := withoutCluster(permissionsInDoc(t))
	try := func(username string) error {
		tier, err := Open(t.Context(), Options{InitAddress: []string{s.Addr()}, Username: username, Password: "secret", Namespace: "other", LogTimeout: 10 * time.Second})
		if err == nil {
			err = tier.Close()
		}
		return err
	}
	const eval = " (whether anything else is missing can be told then)"
	tests := [][]string{
		{"+info", "+strlen", "+client|unblock"}, // in the order in which they are told
		{"~{other}:*", "~other:*"},
		{"+xadd", "~{other}:*"},
	}
	for _, rule := range all {
		if rule != "+hello" { // which nobody can be refused
			tests = append(tests, []string{rule})
		}
	}
	for _, missing := range tests {
		t.Run(strings.Join(missing, " "), func(t *testing.T) {
			rules := slices.DeleteFunc(slices.Clone(all), func(rule string) bool { return slices.Contains(missing, rule) })
			s.Do(setUser(append([]string{"reset", "on", ">secret"}, rules...)...)...)
			err := try("narrow")
			if err == nil {
				t.Fatal("no error")
			}
			remedy, ok := strings.CutPrefix(err.Error(), "redis: the user may not do all that is needed at "+s.Addr()+": allow it by ACL SETUSER narrow ")
			if missing[0] == "+eval" {
				remedy, ok = strings.CutSuffix(remedy, eval)
			}
			told := strings.Fields(remedy)
			want := slices.Clone(missing)
			if len(missing) == 2 && missing[0][0] == '~' {
				// With neither kind of keys nothing can be known of commands that need some.
				for _, command := range logCommands {
					want = append(want, rule(command))
				}
			}
			slices.Sort(told)
			slices.Sort(want)
			if !ok || !slices.Equal(told, want) {
				t.Errorf("told %v, want %v", err, missing)
			}
			s.Do(setUser(told...)...)
			if err := try("narrow"); err != nil {
				t.Errorf("with what was told: %v", err)
			}
		})
	}

	s.Do("ACL", "SETUSER", "default", "-xadd")
	if err := try(""); err == nil || !strings.Contains(err.Error(), "ACL SETUSER default +xadd") {
		t.Errorf("the default user: %v", err)
	}
}

// The namespace is no pattern.
func TestPermissionsForAnyNamespace(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	narrow := func(o *Options) { o.Username, o.Password, o.Namespace = "narrow", "secret", `a*?[b]\c` }
	s.Do(setUser(`~{a\*\?\[b]\\c}:*`, "+@all")...)
	options := Options{InitAddress: []string{s.Addr()}, LogTimeout: 10 * time.Second}
	narrow(&options)
	_, err := Open(t.Context(), options)
	if want := `ACL SETUSER narrow ~a\*\?\[b]\\c:*`; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	s.Do(setUser(`~a\*\?\[b]\\c:*`)...)
	exercise(t, open(t, s, narrow))
}

// A permission that is taken away later is named, or what was refused, and not more.
func TestPermissionsThatAreTakenAway(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Do(setUser("~*", "+@all")...)
	tier := open(t, s, func(o *Options) { o.Username, o.Password = "narrow", "secret" })
	at := mustSnapshot(t, tier, 0).At
	for _, test := range []struct {
		command string
		try     func() error
	}{
		{"xadd", func() error { _, err := tier.Append(t.Context(), at, record(1)); return err }},
		{"setrange", func() error { _, err := tier.Append(t.Context(), at, record(1)); return err }},
		{"xrevrange", func() error { _, err := tier.Prove(t.Context(), at); return err }},
		{"evalsha", func() error { _, err := tier.Prove(t.Context(), at); return err }},
		{"hgetall", func() error { _, err := tier.Snapshot(t.Context(), 0); return err }},
		{"xread", func() error { return tier.Wait(t.Context(), at) }},
		{"getrange", func() error { _, err := tier.Get(t.Context(), []string{"k"}); return err }},
		{"set", func() error {
			return tier.Set(t.Context(), []cacheruntime.SharedEntry{{Key: "k", Entry: []byte("v"), TTL: time.Minute}})
		}},
	} {
		s.Do(setUser("-" + test.command)...)
		err := test.try()
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), test.command) || strings.Contains(err.Error(), "+") ||
			!strings.HasSuffix(err.Error(), "(what a user needs is in the documentation of package redis, under Permissions)") {
			t.Errorf("without %s: %v", test.command, err)
		}
		s.Do(setUser("+" + test.command)...)
	}
}
