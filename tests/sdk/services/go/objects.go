package main

import (
	"os"
	"slices"
	"strconv"

	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/encoding"
)

// Counter, Gate and Events: virtual objects with state.

type event struct {
	Seq  int    `json:"seq"`
	Hold string `json:"hold"`
}

type flaky struct {
	N           int     `json:"n"`
	FailPercent float64 `json:"failPercent"`
}

// read gives the zero value of what is not there.
func read[T any](ctx restate.ObjectSharedContext, name string) (T, error) {
	value, err := restate.Get[T](ctx, name)
	if err != nil {
		return value, err
	}
	return value, nil
}

func appendSeq(ctx restate.ObjectContext, seq int) (int, error) {
	seqs, err := read[[]int](ctx, "seqs")
	if err != nil {
		return 0, err
	}
	seqs = append(seqs, seq)
	restate.Set(ctx, "seqs", seqs)
	return len(seqs), nil
}

func addTo(ctx restate.ObjectContext, n int) (int, error) {
	count, err := read[int](ctx, "count")
	if err != nil {
		return 0, err
	}
	restate.Set(ctx, "count", count+n)
	return count + n, nil
}

func seqs(ctx restate.ObjectSharedContext, _ none) ([]int, error) {
	list, err := read[[]int](ctx, "seqs")
	return orEmpty(list), err
}

func names(ctx restate.ObjectSharedContext) ([]string, error) {
	keys, err := restate.Keys(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(keys)
	return orEmpty(keys), nil
}

func counter() restate.ServiceDefinition {
	return restate.NewObject("Counter").
		Handler("add", restate.NewObjectHandler(addTo)).
		Handler("flakyAdd", restate.NewObjectHandler(func(ctx restate.ObjectContext, f flaky) (int, error) {
			if err := maybeFail(f.FailPercent, "before"); err != nil {
				return 0, err
			}
			sum, err := addTo(ctx, f.N)
			if err != nil {
				return 0, err
			}
			return sum, maybeFail(f.FailPercent, "after")
		})).
		Handler("get", restate.NewObjectSharedHandler(func(ctx restate.ObjectSharedContext, _ none) (int, error) {
			return read[int](ctx, "count")
		})).
		Handler("keys", restate.NewObjectSharedHandler(func(ctx restate.ObjectSharedContext, _ none) ([]string, error) {
			return names(ctx)
		})).
		Handler("clear", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ none) (none, error) {
			restate.ClearAll(ctx)
			return none{}, nil
		})).
		Handler("appendSeq", restate.NewObjectHandler(func(ctx restate.ObjectContext, e event) (int, error) {
			return appendSeq(ctx, e.Seq)
		})).
		Handler("seqs", restate.NewObjectSharedHandler(seqs))
}

func gate() restate.ServiceDefinition {
	type until struct {
		File string `json:"file"`
	}
	return restate.NewObject("Gate").
		Handler("hold", restate.NewObjectHandler(func(ctx restate.ObjectContext, u until) (string, error) {
			return "released", waitForFile(ctx, u.File)
		})).
		Handler("on", restate.NewObjectHandler(func(ctx restate.ObjectContext, e event) (int, error) {
			if e.Hold != "" {
				if err := waitForFile(ctx, e.Hold); err != nil {
					return 0, err
				}
			}
			return appendSeq(ctx, e.Seq)
		})).
		Handler("seqs", restate.NewObjectSharedHandler(seqs))
}

func events() restate.ServiceDefinition {
	raw := restate.WithCodec(encoding.BinaryCodec)
	return restate.NewObject("Events").
		Handler("on", restate.NewObjectHandler(func(ctx restate.ObjectContext, e event) (int, error) {
			// Missing is none.
			percent, _ := strconv.ParseFloat(os.Getenv("FAIL_PERCENT"), 64)
			if err := maybeFail(percent/2, "before"); err != nil {
				return 0, err
			}
			length, err := appendSeq(ctx, e.Seq)
			if err != nil {
				return 0, err
			}
			return length, maybeFail(percent/2, "after")
		})).
		Handler("seqs", restate.NewObjectSharedHandler(seqs)).
		Handler("onRaw", restate.NewObjectHandler(func(ctx restate.ObjectContext, body []byte) (none, error) {
			restate.Set(ctx, "raw", body, raw)
			restate.Set(ctx, "headers", ctx.Request().Headers.ToMap())
			return none{}, nil
		}, restate.WithInputCodec(rawIn))).
		Handler("raw", restate.NewObjectSharedHandler(func(ctx restate.ObjectSharedContext, _ none) ([]byte, error) {
			body, err := restate.Get[[]byte](ctx, "raw", raw)
			if err != nil {
				return nil, err
			}
			return body, nil
		}, restate.WithOutputCodec(rawOut))).
		Handler("headers", restate.NewObjectSharedHandler(
			func(ctx restate.ObjectSharedContext, _ none) (map[string]string, error) {
				headers, err := read[map[string]string](ctx, "headers")
				if headers == nil {
					headers = map[string]string{}
				}
				return headers, err
			}))
}
