// Package blog is the domain of a small blog: posts by authors, in several
// languages, with comments and a few figures about all of them.
//
// Its repositories are plain interfaces. The //cache: directives on their
// methods say which reads are cached, what each one depends on and what each
// write makes stale; cache_gen.go is generated from them. What is read
// depends on four tags:
//
//	Post(id)          one post: its text, its author, its being there
//	Feed              which posts there are, and in which order
//	Author(id)        one author
//	Discussion(post)  the comments of one post
//
// A list of posts depends on Feed for its members and on the Post and Author
// of everything in it. So a new post makes every list stale, and a corrected
// title only those lists that show it. Where one read alone is concerned, no
// tag is needed: the write names the read.
//
// What was invalidated is never served. What has merely expired may be, where
// stale says so, while the database is down or slow: each repository says for
// how long, and why. Writes that belong together are one transaction, for which
// see package editorial.
package blog

//go:generate go run github.com/cachegen/cachegen/cmd/cachegen

import (
	"errors"
	"time"
)

// ErrNotFound reports that what was asked for does not exist. Test for it with
// errors.Is.
var ErrNotFound = errors.New("not found")

// A Post is an article in one language.
type Post struct {
	ID         int64
	AuthorID   int64
	AuthorName string
	Slug       string // its address, unique
	Topics     []string
	Published  time.Time // zero for a draft
	Updated    time.Time

	Locale string // the language of Title and Body
	Title  string
	Body   string
}

// A Headline is what a list shows of a post.
type Headline struct {
	ID         int64
	AuthorID   int64
	AuthorName string
	Slug       string
	Topics     []string
	Published  time.Time
	Title      string
}

// A Feature is a post that the front page shows until a certain time.
type Feature struct {
	Post  *Post
	Until time.Time
}

// An Author writes posts.
type Author struct {
	ID     int64
	Name   string
	Email  string // unique, whatever its case
	Joined time.Time
}

// A Comment is what a visitor wrote under a post.
type Comment struct {
	ID      int64
	PostID  int64
	ReplyTo *int64 // the comment it answers, if it answers one
	Name    string
	Body    string
	Written time.Time
}

// A Filter selects posts. Its zero value selects all of them.
type Filter struct {
	Topics   []string  // posts on any of these topics; none: on whatever topic
	Authors  []int64   // posts by any of these authors; none: by whomever
	From, To time.Time // published at From or later and before To; zero: open
}

// A Page is a part of a list.
type Page struct {
	Number int // from 1
	Size   int // items on a page
}

// Totals are the figures of the whole blog.
type Totals struct {
	Authors  int
	Posts    int // published
	Comments int
	Latest   time.Time // when the latest post was published; zero without one
}

// A Month is a month of the calendar, in UTC.
type Month struct {
	Year  int
	Month time.Month
}
