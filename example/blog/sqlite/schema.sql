CREATE TABLE IF NOT EXISTS authors (
	id      INTEGER PRIMARY KEY,
	name    TEXT    NOT NULL,
	email   TEXT    NOT NULL,
	address TEXT    NOT NULL UNIQUE, -- the email in lower case
	joined  INTEGER NOT NULL         -- times are microseconds since 1970
);

CREATE TABLE IF NOT EXISTS posts (
	id        INTEGER PRIMARY KEY AUTOINCREMENT,
	author    INTEGER NOT NULL REFERENCES authors,
	slug      TEXT    NOT NULL UNIQUE,
	locale    TEXT    NOT NULL, -- the language it was written in
	topics    TEXT    NOT NULL, -- a JSON array
	published INTEGER,          -- NULL for a draft
	updated   INTEGER NOT NULL
);

CREATE INDEX IF NOT EXISTS posts_by_time   ON posts (published);
CREATE INDEX IF NOT EXISTS posts_by_author ON posts (author, published);

CREATE TABLE IF NOT EXISTS texts (
	post   INTEGER NOT NULL REFERENCES posts ON DELETE CASCADE,
	locale TEXT    NOT NULL,
	title  TEXT    NOT NULL,
	body   TEXT    NOT NULL,
	PRIMARY KEY (post, locale)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS comments (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	post     INTEGER NOT NULL REFERENCES posts ON DELETE CASCADE,
	reply_to INTEGER          REFERENCES comments ON DELETE CASCADE,
	name     TEXT    NOT NULL,
	body     TEXT    NOT NULL,
	written  INTEGER NOT NULL
);

CREATE INDEX IF NOT EXISTS comments_by_post  ON comments (post);
CREATE INDEX IF NOT EXISTS comments_by_reply ON comments (reply_to);

-- The front page: no row, or one.
CREATE TABLE IF NOT EXISTS front_page (
	one   INTEGER PRIMARY KEY CHECK (one = 1),
	post  INTEGER NOT NULL REFERENCES posts ON DELETE CASCADE,
	until INTEGER NOT NULL
);
