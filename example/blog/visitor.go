package blog

import "context"

// DefaultLocale is the language of visitors who did not choose one.
const DefaultLocale = "en"

type (
	localeKey struct{}
	editorKey struct{}
)

// WithLocale returns a context for a visitor who reads and writes in the given
// language. A post that is not translated is read in its original language.
func WithLocale(ctx context.Context, locale string) context.Context {
	return context.WithValue(ctx, localeKey{}, locale)
}

// Locale returns the language of the visitor, DefaultLocale if none was chosen.
func Locale(ctx context.Context) string {
	if locale, ok := ctx.Value(localeKey{}).(string); ok {
		return locale
	}
	return DefaultLocale
}

// WithEditor returns a context for an editor, who sees drafts as well.
func WithEditor(ctx context.Context) context.Context {
	return context.WithValue(ctx, editorKey{}, true)
}

// Editor reports whether the visitor is an editor.
func Editor(ctx context.Context) bool {
	editor, _ := ctx.Value(editorKey{}).(bool)
	return editor
}
