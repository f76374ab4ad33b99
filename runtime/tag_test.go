package cacheruntime

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pattern makes the tag of n arguments of which those in the set have the given
// values and the others are *.
func pattern(n int, set uint8, values []int, sets ...uint8) Tag {
	key := NewKey()
	for i := range n {
		if set>>i&1 == 0 {
			key.Any()
			continue
		}
		key.Int(int64(values[i]))
		key.Next()
	}
	return key.PatternTag("example.com/blog.listing", sets...)
}

func meets(dependency, invalidation Tag) bool {
	looked := dependency.appendDependency(nil)
	for _, slot := range invalidation.appendInvalidation(nil) {
		if slices.Contains(looked, slot) {
			return true
		}
	}
	return false
}

// A dependency and an invalidation meet if and only if they agree in all
// arguments that both give, for every choice of partial sets in use.
func TestTagsMeet(t *testing.T) {
	for n := 1; n <= 3; n++ {
		full := uint8(1<<n - 1)
		for choice := range 1 << (full - 1) { // which of the sets 1 to full-1 are in use
			used := []uint8{0, full}
			var partial []uint8
			for set := uint8(1); set < full; set++ {
				if choice>>(set-1)&1 == 1 {
					used = append(used, set)
					partial = append(partial, set)
				}
			}
			for _, d := range used {
				for _, i := range used {
					for values := range 1 << n {
						ones := make([]int, n)
						others := make([]int, n)
						agree := true
						for a := range n {
							others[a] = values >> a & 1
							if d&i>>a&1 == 1 && others[a] != 0 {
								agree = false
							}
						}
						dependency, invalidation := pattern(n, d, ones, partial...), pattern(n, i, others, partial...)
						if meets(dependency, invalidation) != agree {
							t.Fatalf("sets %b: %v depended on, %v invalidated: meet %v, want %v", used, dependency, invalidation, !agree, agree)
						}
					}
				}
			}
		}
	}
}

func TestTagsOfOtherNamesDoNotMeet(t *testing.T) {
	for _, a := range []Tag{postTag(1), allPostTag()} {
		for _, b := range []Tag{authorTag(1), AllTag("example.com/blog.author"), feedTag(), postEntry(1)} {
			if meets(a, b) || meets(b, a) {
				t.Errorf("%v and %v meet", a, b)
			}
		}
	}
	if !meets(feedTag(), feedTag()) || !meets(feedTag(), AllTag("example.com/blog.feed")) {
		t.Error("a tag without parameters does not meet itself")
	}
	if meets(postTag(1), postTag(2)) || !meets(postTag(1), postTag(1)) {
		t.Error("post(1) and post(2)")
	}
}

func TestTagOfManyArguments(t *testing.T) {
	values := []int{1, 2, 3, 4, 5}
	other := []int{1, 2, 3, 4, 6}
	const all = 1<<5 - 1
	if meets(pattern(5, all, values), pattern(5, all, other)) {
		t.Error("tags that differ in the fifth argument meet")
	}
	if !meets(pattern(5, all, values), pattern(5, all, values)) {
		t.Error("equal tags do not meet")
	}
	wild := pattern(5, all&^1, other) // has a *: it stands for all
	if !meets(pattern(5, all, values), wild) || !meets(wild, pattern(5, all, values)) {
		t.Error("a * among five arguments does not match")
	}
}

func TestTagString(t *testing.T) {
	text := func(s string) Tag {
		key := NewKey()
		key.Int(1)
		key.String(s)
		return key.Tag("example.com/blog.search")
	}
	for _, test := range []struct {
		tag  Tag
		want string
	}{
		{postTag(7), "blog.post(7)"},
		{allPostTag(), "blog.post(*)"},
		{feedTag(), "blog.feed"},
		{postEntry(7), "blog.PostRepository.Post(7)"},
		{pattern(3, 5, []int{1, 2, 3}, 5), "blog.listing(1, *, 3)"},
		{text("short"), `blog.search(1, "short")`},
		{text("a text that is too long to be kept"), `blog.search(1, "a text that is too l…")`},
		{NewKey().Tag("local"), "local"},
	} {
		if got := test.tag.String(); got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}

func TestTagsAreCheap(t *testing.T) {
	var slots [16]uint32
	if n := testing.AllocsPerRun(100, func() { postTag(7) }); n != 0 {
		t.Errorf("a tag allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		tag := pattern(2, 3, []int{1, 2}, 1, 2)
		tag.appendDependency(slots[:0])
	}); n != 0 {
		t.Errorf("a pattern tag allocates %v times", n)
	}
	if postTag(7) != postTag(7) || postTag(7) == postTag(8) {
		t.Error("tags cannot be compared")
	}
}

func TestEntryTags(t *testing.T) {
	r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Patterns = []uint8{0b01} })
	key := func(write func(*Key)) *Key {
		k := NewKey()
		write(k)
		return k
	}
	one := r.read.Tag(key(func(k *Key) { k.Int(7); k.Next(); k.String("en"); k.Next() }))
	some := r.read.Tag(key(func(k *Key) { k.Int(7); k.Next(); k.Any() }))
	other := r.read.Tag(key(func(k *Key) { k.Int(8); k.Next(); k.Any() }))
	all := r.read.AllTag()
	failed := r.read.Tag(key(func(k *Key) { k.Int(7); k.failed = true }))
	if failed != all {
		t.Errorf("the tag of a key that failed is %v", failed)
	}
	if !meets(one, some) || meets(one, other) || !meets(one, all) {
		t.Errorf("%v, %v, %v, %v", one, some, other, all)
	}
	if got := one.String() + " " + all.String(); got != `blog.PostRepository.Post(7, "en") blog.PostRepository.Post(*)` {
		t.Error(got)
	}
}

func TestPatternSetOutOfRange(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a set of a fifth argument is accepted")
		}
	}()
	AllTag("example.com/blog.listing", 0b10000)
}

func TestTagsCollect(t *testing.T) {
	collect := func(result resultState) []string {
		tags := Tags{write: true, traced: true, result: result}
		var p *post
		tags.Add()
		tags.Add(feedTag(), postTag(1))
		tags.Try(allPostTag(), func() { tags.Add(postTag(1)) })
		tags.Try(allPostTag(), func() {
			tags.Add(postTag(2))
			tags.Add(postTag(p.ID))
		})
		tags.Result(AllTag("example.com/blog.author"), func() { tags.Add(authorTag(3)) })
		return tags.sortedNames()
	}
	before := []string{"blog.feed", "blog.post(*)", "blog.post(1)", "blog.post(2)"}
	known := append([]string{"blog.author(3)"}, before...)
	unknown := append([]string{"blog.author(*)"}, before...)
	for result, want := range map[resultState][]string{resultPending: before, resultKnown: known, resultUnknown: unknown} {
		if diff := cmp.Diff(want, collect(result)); diff != "" {
			t.Errorf("result %d: %s", result, diff)
		}
	}
}

// What a call may have been about to fill in: nothing that anyone has given is taken
// for it.
func TestBlankTags(t *testing.T) {
	for name, test := range map[string]struct {
		add  func(*Key)
		want bool
	}{
		"zero":            {func(k *Key) { k.Int(0) }, true},
		"one":             {func(k *Key) { k.Int(1) }, false},
		"minus one":       {func(k *Key) { k.Int(-1) }, false},
		"unsigned zero":   {func(k *Key) { k.Uint(0) }, true},
		"128":             {func(k *Key) { k.Uint(128) }, false},
		"empty":           {func(k *Key) { k.String("") }, true},
		"text":            {func(k *Key) { k.String("0") }, false},
		"nil":             {func(k *Key) { k.Nil() }, true},
		"zero UUID":       {func(k *Key) { k.Bytes(make([]byte, 16)) }, true},
		"UUID":            {func(k *Key) { k.Bytes([]byte{15: 1}) }, false},
		"second argument": {func(k *Key) { k.String("tenant"); k.Float64(0); k.Time(time.Now()); k.Int(0) }, true},
		"all given":       {func(k *Key) { k.String("tenant"); k.Float64(0); k.Bool(false); k.Time(time.Now()); k.Int(7) }, false},
		"in a struct":     {func(k *Key) { k.Struct(2); k.Int(3); k.Int(0) }, true},
		"none":            {func(k *Key) {}, false},
	} {
		key := NewKey()
		test.add(key)
		if got := key.Tag("t").blank; got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if AllTag("t").blank {
		t.Error("all")
	}
}

// The fallback of a tag with a blank argument is for calls that did not succeed, and
// for guarding one before.
func TestTryABlankTag(t *testing.T) {
	count := func(state resultState, id int64) int {
		tags := Tags{write: true, result: state}
		tags.Try(allPostTag(), func() { tags.Add(postTag(id)) })
		return len(tags.slots)
	}
	plain := count(resultKnown, 7)
	for state, want := range map[resultState]bool{resultPending: false, resultKnown: false, resultUnknown: true} {
		if got := count(state, 0) > plain; got != want {
			t.Errorf("state %d: fallback %v", state, got)
		}
		if count(state, 7) != plain {
			t.Errorf("state %d: a fallback for what is given", state)
		}
	}
}
