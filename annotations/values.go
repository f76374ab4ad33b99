package annotations

import (
	"fmt"
	"go/token"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// checkValues reports the options of a directive whose values are malformed,
// and drops them.
func (p *parsed) checkValues(report func(Diagnostic)) {
	kept := p.options[:0]
	for _, o := range p.options {
		if err := p.spec.option(o.name.text).check(o.value); err != nil {
			report(*err)
			continue
		}
		kept = append(kept, o)
	}
	p.options = kept
}

// check returns the problem of a value, nil if it has none.
func (spec *Option) check(value piece) *Diagnostic {
	var d Diagnostic
	if spec.value != valueNone && strings.ContainsAny(value.text[:1], "\"'`") {
		d = quotedValue(value, spec)
		return &d
	}
	switch spec.value {
	case valueName:
		if token.IsIdentifier(value.text) && !slices.Contains([]string{"_", "init", "main"}, value.text) {
			return nil
		}
		d = notAName(value, spec.Name)
	case valueDuration, valueLifetime:
		n, err := time.ParseDuration(value.text)
		if err == nil && (n > 0 || n == 0 && spec.value == valueDuration) {
			return nil
		}
		d = badDuration(value, spec, err == nil)
	case valueTTL:
		if value.text == "forever" {
			return nil
		}
		if _, ok := parenthesized(value); ok {
			return nil
		}
		if strings.HasPrefix(value.text, "(") {
			d = notParenthesized(value)
			break
		}
		n, err := time.ParseDuration(value.text)
		if err == nil && n > 0 {
			return nil
		}
		d = badDuration(value, spec, err == nil)
	case valuePercent:
		if _, ok := percent(value.text); ok {
			return nil
		}
		d = badPercent(value, spec)
	case valueBeta:
		if _, ok := beta(value.text); ok {
			return nil
		}
		d = badValue(value, spec, fmt.Sprintf("a number above 0 and at most %d, or off", maxBeta))
	case valueCount:
		if _, ok := count(value.text); ok {
			return nil
		}
		d = badValue(value, spec, fmt.Sprintf("an integer from 1 to %d", maxCount))
	case valueLibrary:
		if value.text == "json" || value.text == "gob" {
			return nil
		}
		d = badValue(value, spec, "json or gob")
	default:
		return nil
	}
	return &d
}

// parenthesized returns the expression of a value in parentheses.
func parenthesized(value piece) (piece, bool) {
	if !strings.HasPrefix(value.text, "(") || !strings.HasSuffix(value.text, ")") || len(value.text) < 3 {
		return piece{}, false
	}
	inner := value.sub(1, len(value.text)-1)
	return inner, inner.text != ""
}

// duration returns the value of a duration that has been checked, 0 if the
// option is not given.
func (o *optionText) duration() time.Duration {
	if o == nil {
		return 0
	}
	d, _ := time.ParseDuration(o.value.text)
	return d
}

func percent(text string) (float64, bool) {
	number, ok := strings.CutSuffix(text, "%")
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(number, 64)
	return f / 100, err == nil && f >= 0 && f <= 100
}

// maxBeta bounds the beta of XFetch, which is usually about 1.
const maxBeta = 1_000_000

func beta(text string) (float64, bool) {
	if text == "off" {
		return 0, true
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && f > 0 && f <= maxBeta
}

// maxCount is the largest count that is an int on every machine.
const maxCount = math.MaxInt32

func count(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n > 0 && n <= maxCount
}
