package blog

import (
	"reflect"
	"runtime"
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
// it back, again and again, whatever is done to what was decoded before.
func roundTrip[V any](t *testing.T, v V, encode func(*cacheruntime.Encoder, V), decode func(*cacheruntime.Decoder) V) {
	t.Helper()
	var e cacheruntime.Encoder
	encode(&e, v)
	data, err := e.Encoded()
	if err != nil {
		t.Fatal(err)
	}
	var decoded [3]V
	for i := range decoded {
		d := cacheruntime.NewDecoder(data)
		decoded[i] = decode(d)
		if err := d.Finish(); err != nil {
			t.Fatalf("%x of %+v: %v", data, v, err)
		}
		if i == 1 {
			spoil(reflect.ValueOf(&decoded[0]).Elem())
		}
	}
	for _, got := range decoded[1:] {
		if diff := cmp.Diff(v, got, same); diff != "" {
			t.Errorf("decoding gives another result (-encoded +decoded):\n%s", diff)
		}
	}
}

// spoil changes all that can be reached from a result, in place.
func spoil(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			spoil(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Cap() {
			spoil(v.Slice(0, v.Cap()).Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			v.SetMapIndex(key, reflect.Value{})
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.SetZero()
			return
		}
		for i := range v.NumField() {
			spoil(v.Field(i))
		}
	case reflect.String:
		v.SetString(v.String() + " changed")
	case reflect.Int, reflect.Int64:
		v.SetInt(^v.Int())
	default:
		panic("not spoiled: " + v.Type().String())
	}
}

// Arbitrary bytes of a given number may not make a decoding allocate more than this
// many for each, and somewhat for what else the process does.
const (
	allocatedPerByte = 128
	allocatedAnyway  = 64 << 10
)

// survive decodes arbitrary bytes. That takes memory in proportion to their number, and
// what comes out without an error must be a result like any other.
func survive[V any](t *testing.T, data []byte, encode func(*cacheruntime.Encoder, V), decode func(*cacheruntime.Decoder) V) {
	t.Helper()
	var before, after runtime.MemStats
	d := cacheruntime.NewDecoder(data)
	runtime.ReadMemStats(&before)
	v := decode(d)
	runtime.ReadMemStats(&after)
	if spent := after.TotalAlloc - before.TotalAlloc; spent > uint64(allocatedPerByte*len(data)+allocatedAnyway) {
		t.Fatalf("decoding %d bytes allocates %d: %x", len(data), spent, data)
	}
	if d.Finish() == nil {
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
