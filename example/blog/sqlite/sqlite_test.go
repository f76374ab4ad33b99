package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cachegen/cachegen/example/blog"
	"github.com/cachegen/cachegen/example/blog/sqlite"
	"github.com/cachegen/cachegen/runtime/cachetest"
	"github.com/cachegen/cachegen/runtime/sqltx"
)

// open returns an empty database with two authors.
func open(t *testing.T) (db *sqlite.DB, ada, grace int64) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "blog.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	a := &blog.Author{Name: "Ada", Email: "Ada@Example.com", Joined: day(1)}
	g := &blog.Author{Name: "Grace", Email: "grace@example.com", Joined: day(2)}
	for _, author := range []*blog.Author{a, g} {
		if err := db.Authors().Create(t.Context(), author); err != nil {
			t.Fatal(err)
		}
	}
	return db, a.ID, g.ID
}

func day(n int) time.Time { return time.Date(2026, time.January, n, 12, 0, 0, 0, time.UTC) }

// create stores a post with the given slug, published on that day (0: a draft).
func create(t *testing.T, db *sqlite.DB, author int64, slug string, published int, topics ...string) int64 {
	t.Helper()
	p := &blog.Post{AuthorID: author, Slug: slug, Topics: topics, Title: "On " + slug, Body: "About " + slug + "."}
	if published > 0 {
		p.Published = day(published)
	}
	if err := db.Posts().Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return p.ID
}

func slugs(headlines []blog.Headline) []string {
	var s []string
	for _, h := range headlines {
		s = append(s, h.Slug)
	}
	return s
}

func check[T any](t *testing.T, what string, err error, got, want T) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func succeed(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func wantNotFound(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, blog.ErrNotFound) {
		t.Fatalf("%s: %v, want blog.ErrNotFound", what, err)
	}
}

func TestPostLocales(t *testing.T) {
	db, ada, _ := open(t)
	posts, ctx := db.Posts(), t.Context()
	german := blog.WithLocale(ctx, "de")
	id := create(t, db, ada, "engines", 3, "history", "machines")

	before, err := posts.ByID(german, id)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "the original where there is no translation", err, before, &blog.Post{
		ID: id, AuthorID: ada, AuthorName: "Ada", Slug: "engines", Topics: []string{"history", "machines"},
		Published: day(3), Updated: before.Updated, Locale: "en", Title: "On engines", Body: "About engines.",
	})

	succeed(t, "Edit", posts.Edit(german, id, "Maschinen", "Über Maschinen."))
	after, err := posts.ByID(german, id)
	check(t, "the translation", err, []string{after.Locale, after.Title, after.Body}, []string{"de", "Maschinen", "Über Maschinen."})
	original, err := posts.ByID(ctx, id)
	check(t, "the original", err, []string{original.Locale, original.Title, original.Body}, []string{"en", "On engines", "About engines."})

	found, err := posts.Search(german, "MASCHINEN", blog.Page{Size: 10}, "trace */ 1")
	check(t, "Search in German", err, slugs(found), []string{"engines"})
	found, err = posts.Search(ctx, "maschinen", blog.Page{Size: 10}, "")
	check(t, "Search in English", err, slugs(found), nil)

	wantNotFound(t, "Edit of no post", posts.Edit(ctx, 99, "", ""))
	_, err = posts.ByID(ctx, 99)
	wantNotFound(t, "ByID of no post", err)
}

func TestDrafts(t *testing.T) {
	db, ada, _ := open(t)
	posts, ctx := db.Posts(), t.Context()
	editor := blog.WithEditor(ctx)
	create(t, db, ada, "old", 1)
	draft := create(t, db, ada, "draft", 0)
	page := blog.Page{Number: 1, Size: 10}

	_, err := posts.ByID(ctx, draft)
	wantNotFound(t, "a draft", err)
	p, err := posts.ByID(editor, draft)
	if err != nil || !p.Published.IsZero() {
		t.Fatalf("a draft for an editor: %+v, %v", p, err)
	}
	list, err := posts.List(editor, blog.Filter{}, page)
	check(t, "List for an editor", err, slugs(list), []string{"draft", "old"})
	list, err = posts.ByAuthor(ctx, ada, page)
	check(t, "ByAuthor", err, slugs(list), []string{"old"})
	wantNotFound(t, "Feature of a draft", posts.Feature(ctx, draft, day(9)))

	author, err := posts.Publish(ctx, draft, day(2))
	check(t, "Publish", err, author, ada)
	_, err = posts.Publish(ctx, draft, day(2))
	wantNotFound(t, "Publish again", err)
	list, err = posts.ByAuthor(ctx, ada, page)
	check(t, "ByAuthor", err, slugs(list), []string{"draft", "old"})

	var exported []string
	err = posts.Export(ctx, func(p *blog.Post) error {
		exported = append(exported, p.Slug)
		return nil
	})
	check(t, "Export", err, exported, []string{"old", "draft"})
	stop := errors.New("stop")
	if err := posts.Export(ctx, func(*blog.Post) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("Export: %v, want the error of yield", err)
	}
}

func TestFilters(t *testing.T) {
	db, ada, grace := open(t)
	create(t, db, ada, "a", 1, "history")
	create(t, db, ada, "b", 2, "history", "machines")
	create(t, db, grace, "c", 3, "machines")
	create(t, db, grace, "d", 4)
	create(t, db, grace, "draft", 0, "history")

	all := blog.Page{Number: 1, Size: 10}
	for _, test := range []struct {
		name   string
		filter blog.Filter
		page   blog.Page
		count  int
		want   []string
	}{
		{"everything", blog.Filter{}, all, 4, []string{"d", "c", "b", "a"}},
		{"first page", blog.Filter{}, blog.Page{Number: 1, Size: 3}, 4, []string{"d", "c", "b"}},
		{"last page", blog.Filter{}, blog.Page{Number: 2, Size: 3}, 4, []string{"a"}},
		{"beyond", blog.Filter{}, blog.Page{Number: 3, Size: 3}, 4, nil},
		{"one topic", blog.Filter{Topics: []string{"history"}}, all, 2, []string{"b", "a"}},
		{"two topics", blog.Filter{Topics: []string{"history", "machines"}}, all, 3, []string{"c", "b", "a"}},
		{"author", blog.Filter{Authors: []int64{grace}}, all, 2, []string{"d", "c"}},
		{"time", blog.Filter{From: day(2), To: day(4)}, all, 2, []string{"c", "b"}},
		{"topic and author", blog.Filter{Topics: []string{"machines"}, Authors: []int64{ada}}, all, 1, []string{"b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			list, err := db.Posts().List(t.Context(), test.filter, test.page)
			check(t, "List", err, slugs(list), test.want)
			count, err := db.Reports().Count(t.Context(), test.filter)
			check(t, "Count", err, count, test.count)
		})
	}
}

func TestByIDs(t *testing.T) {
	db, ada, _ := open(t)
	posts, ctx := db.Posts(), t.Context()
	a, b := create(t, db, ada, "a", 1), create(t, db, ada, "b", 2)
	draft := create(t, db, ada, "draft", 0)
	read := func(ctx context.Context, ids ...int64) []string {
		found, err := posts.ByIDs(ctx, ids)
		succeed(t, "ByIDs", err)
		slugs := []string{}
		for _, p := range found {
			slugs = append(slugs, p.Slug)
		}
		return slugs
	}
	check(t, "in the order of the IDs", nil, read(ctx, b, 99, draft, a, b), []string{"b", "a", "b"})
	check(t, "for an editor", nil, read(blog.WithEditor(ctx), draft), []string{"draft"})
	check(t, "none", nil, read(ctx), []string{})
}

// Inside a transaction the repositories read and write in it, outside they do not.
func TestTransaction(t *testing.T) {
	db, ada, grace := open(t)
	posts, authors, comments, ctx := db.Posts(), db.Authors(), db.Comments(), t.Context()
	id := create(t, db, ada, "a", 1)
	stop := errors.New("stop")
	name := func(ctx context.Context) string {
		p, err := posts.ByID(ctx, id)
		succeed(t, "ByID", err)
		return p.AuthorName + ": " + p.Title
	}
	err := sqltx.Run(ctx, db.SQL(), cachetest.New(t), nil, func(inside context.Context, _ *sql.Tx) error {
		_, err := posts.Move(inside, id, grace)
		succeed(t, "Move", err)
		succeed(t, "Edit", posts.Edit(inside, id, "Another title", ""))
		succeed(t, "Delete", authors.Delete(inside, ada))
		succeed(t, "Add", comments.Add(inside, &blog.Comment{PostID: id, Name: "Joan", Written: day(2)}))
		check(t, "inside", nil, name(inside), "Grace: Another title")
		latest, err := comments.Latest(inside, 1)
		check(t, "comments inside", err, len(latest), 1)
		check(t, "outside", nil, name(ctx), "Ada: On a")
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	check(t, "after the rollback", nil, name(ctx), "Ada: On a")
	latest, err := comments.Latest(ctx, 1)
	check(t, "comments after the rollback", err, len(latest), 0)
}

func TestMove(t *testing.T) {
	db, ada, grace := open(t)
	posts, ctx := db.Posts(), t.Context()
	id := create(t, db, ada, "compilers", 1)

	from, err := posts.Move(ctx, id, grace)
	check(t, "Move", err, from, ada)
	p, err := posts.ByID(ctx, id)
	check(t, "ByID", err, p.AuthorName, "Grace")
	if _, err := posts.Move(ctx, id, 99); err == nil {
		t.Fatal("Move to nobody succeeded")
	}
	_, err = posts.Move(ctx, 99, ada)
	wantNotFound(t, "Move of no post", err)
	list, err := posts.ByAuthor(ctx, grace, blog.Page{Number: 1, Size: 10})
	check(t, "ByAuthor", err, slugs(list), []string{"compilers"})
}

func TestFeatured(t *testing.T) {
	db, ada, _ := open(t)
	posts, ctx := db.Posts(), t.Context()
	first, second := create(t, db, ada, "first", 1), create(t, db, ada, "second", 2)
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)

	feature, err := posts.Featured(ctx)
	check(t, "Featured without one", err, feature, nil)
	succeed(t, "Feature", posts.Feature(ctx, first, until.Add(time.Hour)))
	succeed(t, "Feature", posts.Feature(ctx, second, until))
	feature, err = posts.Featured(ctx)
	check(t, "Featured", err, feature.Until, until)
	check(t, "Featured", err, feature.Post.ID, second)

	succeed(t, "Feature in the past", posts.Feature(ctx, second, time.Now().Add(-time.Second)))
	feature, err = posts.Featured(ctx)
	check(t, "Featured after its time", err, feature, nil)
}

func TestDelete(t *testing.T) {
	db, ada, grace := open(t)
	posts, ctx := db.Posts(), t.Context()
	a, b, c := create(t, db, ada, "a", 1), create(t, db, grace, "b", 2), create(t, db, ada, "c", 3)
	comment := &blog.Comment{PostID: a, Name: "Joan", Body: "First!", Written: day(4)}
	succeed(t, "Add", db.Comments().Add(ctx, comment))
	succeed(t, "Feature", posts.Feature(ctx, a, time.Now().Add(time.Hour)))

	authors, err := posts.Delete(ctx, a, b, c, 99)
	check(t, "Delete", err, authors, []int64{ada, grace})
	latest, err := db.Comments().Latest(ctx, 10)
	check(t, "Latest after Delete", err, latest, []blog.Comment{})
	feature, err := posts.Featured(ctx)
	check(t, "Featured after Delete", err, feature, nil)
	authors, err = posts.Delete(ctx)
	check(t, "Delete of nothing", err, authors, []int64{})
}

func TestAuthors(t *testing.T) {
	db, ada, grace := open(t)
	authors, ctx := db.Authors(), t.Context()
	want := blog.Author{ID: ada, Name: "Ada", Email: "Ada@Example.com", Joined: day(1)}

	got, err := authors.ByID(ctx, ada)
	check(t, "ByID", err, *got, want)
	got, err = authors.ByEmail(ctx, "ADA@example.COM")
	check(t, "ByEmail in another case", err, *got, want)
	if err := authors.Create(ctx, &blog.Author{Name: "Another", Email: "ada@example.com"}); err == nil {
		t.Fatal("Create with an address that is taken succeeded")
	}
	some, err := authors.ByIDs(ctx, []int64{ada, 99})
	check(t, "ByIDs", err, some, map[int64]blog.Author{ada: want})

	succeed(t, "Rename", authors.Rename(ctx, ada, "Lady Lovelace"))
	wantNotFound(t, "Rename of nobody", authors.Rename(ctx, 99, "Nobody"))
	all, err := authors.List(ctx)
	check(t, "List", err, []int64{all[0].ID, all[1].ID}, []int64{grace, ada})

	old, err := authors.ChangeEmail(ctx, ada, "Lovelace@example.com")
	check(t, "ChangeEmail", err, old, "Ada@Example.com")
	_, err = authors.ByEmail(ctx, "ada@example.com")
	wantNotFound(t, "ByEmail of the old address", err)
	_, err = authors.ChangeEmail(ctx, 99, "nobody@example.com")
	wantNotFound(t, "ChangeEmail of nobody", err)

	id := create(t, db, ada, "a", 1)
	if err := authors.Delete(ctx, ada); err == nil {
		t.Fatal("Delete of an author with a post succeeded")
	}
	_, err = db.Posts().Move(ctx, id, grace)
	succeed(t, "Move", err)
	succeed(t, "Delete", authors.Delete(ctx, ada))
	wantNotFound(t, "Delete again", authors.Delete(ctx, ada))
}

func TestComments(t *testing.T) {
	db, ada, _ := open(t)
	comments, ctx := db.Comments(), t.Context()
	a, b, c := create(t, db, ada, "a", 1), create(t, db, ada, "b", 2), create(t, db, ada, "c", 3)
	add := func(post int64, replyTo *int64, body string) blog.Comment {
		t.Helper()
		comment := blog.Comment{PostID: post, ReplyTo: replyTo, Name: "Joan", Body: body, Written: day(5)}
		succeed(t, "Add", comments.Add(ctx, &comment))
		return comment
	}
	first := add(a, nil, "First!")
	other := add(b, nil, "Nice.")
	reply := add(a, &first.ID, "Congratulations.")

	page, err := comments.ByPost(ctx, a, blog.Page{Number: 1, Size: 10})
	check(t, "ByPost", err, page, []blog.Comment{first, reply})
	page, err = comments.ByPost(ctx, a, blog.Page{Number: 2, Size: 1})
	check(t, "ByPost, page 2", err, page, []blog.Comment{reply})
	counts, err := comments.Counts(ctx, []int64{a, b, c})
	check(t, "Counts", err, counts, map[int64]int{a: 2, b: 1})
	latest, err := comments.Latest(ctx, 2)
	check(t, "Latest", err, latest, []blog.Comment{reply, other})

	posts, err := comments.Remove(ctx, []int64{first.ID, other.ID, 99})
	check(t, "Remove", err, posts, []int64{a, b})
	counts, err = comments.Counts(ctx, []int64{a, b})
	check(t, "Counts after Remove", err, counts, map[int64]int{})
}

func TestReports(t *testing.T) {
	db, ada, _ := open(t)
	reports, ctx := db.Reports(), t.Context()
	totals, err := reports.Totals(ctx)
	check(t, "Totals of an empty blog", err, totals, blog.Totals{Authors: 2})

	create(t, db, ada, "a", 1)
	create(t, db, ada, "b", 31)
	create(t, db, ada, "c", 32)
	create(t, db, ada, "draft", 0)
	totals, err = reports.Totals(ctx)
	check(t, "Totals", err, totals, blog.Totals{Authors: 2, Posts: 3, Latest: day(32)})
	archive, err := reports.Archive(ctx)
	check(t, "Archive", err, archive, map[blog.Month]int{{Year: 2026, Month: time.January}: 2, {Year: 2026, Month: time.February}: 1})
}

func TestOpenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blog.db")
	for i := range 2 {
		db, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		succeed(t, "Create", db.Authors().Create(t.Context(), &blog.Author{Email: string(rune('a' + i))}))
		all, err := db.Authors().List(t.Context())
		check(t, "authors", err, len(all), i+1)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sqlite.Open(t.Context(), filepath.Join(path, "none", "blog.db")); err == nil {
		t.Fatal("Open below a file succeeded")
	}
}

func TestCancelled(t *testing.T) {
	db, ada, _ := open(t)
	create(t, db, ada, "a", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := db.Posts().List(ctx, blog.Filter{}, blog.Page{Size: 1})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("List with a cancelled context: %v", err)
	}
}
