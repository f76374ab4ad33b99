// Package sample fills a blog with something to read.
package sample

import (
	"context"
	"fmt"
	"time"

	"github.com/cachegen/cachegen/example/blog"
)

// What Fill puts into an empty blog, by ID.
const (
	Ada, Grace, Edsger = 1, 2, 3 // the authors
	Posts              = 12      // posts 1 to 12 are published, by the three in turn
	Draft              = 13      // Ada's
)

// Fill fills an empty blog with three authors, twelve posts in English, a
// draft, and comments on the posts with an odd ID, two on each. Post 1 is in
// German as well.
func Fill(ctx context.Context, posts blog.PostRepository, authors blog.AuthorRepository, comments blog.CommentRepository) error {
	for _, name := range []string{"Ada", "Grace", "Edsger"} {
		joined := time.Date(2025, time.December, 1, 9, 0, 0, 0, time.UTC)
		if err := authors.Create(ctx, &blog.Author{Name: name, Email: name + "@example.com", Joined: joined}); err != nil {
			return err
		}
	}
	for i, title := range []string{
		"Notes on the engine", "The first bug", "Go to considered harmful",
		"Bernoulli numbers", "A compiler", "On the cruelty of really teaching",
		"Weaving algebraic patterns", "Nanoseconds", "The humble programmer",
		"What an engine cannot do", "Standards for languages", "The shortest path",
	} {
		n := i + 1
		post := &blog.Post{
			AuthorID:  int64(i%3 + 1),
			Slug:      fmt.Sprintf("post-%d", n),
			Topics:    []string{"history", []string{"machines", "languages"}[i%2]},
			Published: time.Date(2026, time.Month(1+i/4), 2+i, 8, 30, 0, 0, time.UTC),
			Title:     title,
			Body:      fmt.Sprintf("Post number %d, which is about: %s.", n, title),
		}
		if err := posts.Create(ctx, post); err != nil {
			return err
		}
		if n%2 == 0 {
			continue
		}
		comment := &blog.Comment{PostID: post.ID, Name: "Joan", Body: "Thank you.", Written: post.Published.Add(time.Hour)}
		if err := comments.Add(ctx, comment); err != nil {
			return err
		}
		reply := &blog.Comment{PostID: post.ID, ReplyTo: &comment.ID, Name: "Kay", Body: "Indeed.", Written: post.Published.Add(2 * time.Hour)}
		if err := comments.Add(ctx, reply); err != nil {
			return err
		}
	}
	if err := posts.Create(ctx, &blog.Post{AuthorID: Ada, Slug: "draft", Title: "A draft", Body: "Unfinished."}); err != nil {
		return err
	}
	return posts.Edit(blog.WithLocale(ctx, "de"), 1, "Anmerkungen zur Maschine", "Beitrag Nummer 1, auf Deutsch.")
}
