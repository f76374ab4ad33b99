package blog

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// same compares results as their users see them: nil and empty are different,
// times are the same instant with the same offset.
var same = cmp.Options{
	cmp.Comparer(func(a, b time.Time) bool {
		_, ao := a.Zone()
		_, bo := b.Zone()
		return a.Equal(b) && ao == bo
	}),
}

// roundTrip encodes a result with generated code and checks that decoding gives
// it back, twice, without sharing anything that can be changed.
func roundTrip[V any](t *testing.T, v V, encode func(*cacheruntime.Encoder, V), decode func(*cacheruntime.Decoder) V) {
	t.Helper()
	var e cacheruntime.Encoder
	encode(&e, v)
	data, err := e.Encoded()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d := cacheruntime.NewDecoder(data)
		got := decode(d)
		if err := d.Finish(); err != nil {
			t.Fatalf("%x of %+v: %v", data, v, err)
		}
		if diff := cmp.Diff(v, got, same); diff != "" {
			t.Errorf("decoding gives another result (-encoded +decoded):\n%s", diff)
		}
	}
}

// survive decodes arbitrary bytes. What comes out without an error must be a
// result like any other.
func survive[V any](t *testing.T, data []byte, encode func(*cacheruntime.Encoder, V), decode func(*cacheruntime.Decoder) V) {
	t.Helper()
	d := cacheruntime.NewDecoder(data)
	if v := decode(d); d.Finish() == nil {
		roundTrip(t, v, encode, decode)
	}
}

func FuzzCodec(f *testing.F) {
	f.Add(int64(1), "title", "go", int64(1_700_000_000), uint32(5), int32(3600), byte(0), []byte{1, 2, 3})
	f.Add(int64(-1), "", "", int64(-62135596800), uint32(999_999_999), int32(-1), byte(0xff), []byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, id int64, text, topic string, sec int64, nsec uint32, offset int32, shape byte, data []byte) {
		// Instants that time.Time itself can represent and compare.
		at := time.Unix(sec%(1<<40), int64(nsec%1e9)).UTC()
		if shape&1 != 0 {
			at = at.In(time.FixedZone("", int(offset)))
		}
		post := &Post{ID: id, AuthorID: id >> 3, AuthorName: topic, Slug: text, Published: at, Locale: topic, Title: text, Body: text + topic}
		switch shape >> 1 & 3 {
		case 1:
			post.Topics = []string{}
		case 2:
			post.Topics = []string{topic, "", text}
		}
		comment := Comment{ID: id, Name: text, Written: at}
		if shape&8 != 0 {
			comment.ReplyTo = &comment.PostID
		}
		roundTrip(t, post, cacheEncodePostPtrResult, cacheDecodePostPtrResult)
		roundTrip(t, nil, cacheEncodePostPtrResult, cacheDecodePostPtrResult)
		roundTrip(t, &Feature{Post: post, Until: at}, cacheEncodeFeaturePtrResult, cacheDecodeFeaturePtrResult)
		roundTrip(t, []Comment{comment, {}}, cacheEncodeCommentSliceResult, cacheDecodeCommentSliceResult)
		roundTrip(t, &Author{ID: id, Name: text, Joined: at}, cacheEncodeAuthorPtrResult, cacheDecodeAuthorPtrResult)
		roundTrip(t, map[int64]int{id: int(id)}, cacheEncodeInt64ToIntMapResult, cacheDecodeInt64ToIntMapResult)
		roundTrip(t, map[Month]int{{Year: int(offset), Month: time.Month(shape)}: int(id)}, cacheEncodeMonthToIntMapResult, cacheDecodeMonthToIntMapResult)

		survive(t, data, cacheEncodePostPtrResult, cacheDecodePostPtrResult)
		survive(t, data, cacheEncodeFeaturePtrResult, cacheDecodeFeaturePtrResult)
		survive(t, data, cacheEncodeHeadlineSliceResult, cacheDecodeHeadlineSliceResult)
		survive(t, data, cacheEncodeCommentSliceResult, cacheDecodeCommentSliceResult)
		survive(t, data, cacheEncodeAuthorPtrResult, cacheDecodeAuthorPtrResult)
		survive(t, data, cacheEncodeInt64ToIntMapResult, cacheDecodeInt64ToIntMapResult)
		survive(t, data, cacheEncodeMonthToIntMapResult, cacheDecodeMonthToIntMapResult)
	})
}
