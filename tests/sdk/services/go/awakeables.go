package main

import (
	"fmt"
	"slices"
	"time"

	restate "github.com/restatedev/sdk-go"
)

// Holder, Awaiter and Combine: awakeables, who completes them, and several at once.

type awakeable = restate.AwakeableFuture[string]

// take gives the id that is held, and holds it no more.
func take(ctx restate.ObjectContext) (string, error) {
	id, err := read[*string](ctx, "id")
	if err != nil {
		return "", err
	}
	if id == nil {
		return "", terminal(404, "nothing held")
	}
	restate.Clear(ctx, "id")
	return *id, nil
}

func holder() restate.ServiceDefinition {
	return restate.NewObject("Holder").
		Handler("hold", restate.NewObjectHandler(func(ctx restate.ObjectContext, id string) (none, error) {
			restate.Set(ctx, "id", id)
			return none{}, nil
		})).
		Handler("held", restate.NewObjectSharedHandler(func(ctx restate.ObjectSharedContext, _ none) (*string, error) {
			return read[*string](ctx, "id")
		})).
		Handler("unlock", restate.NewObjectHandler(func(ctx restate.ObjectContext, value string) (none, error) {
			id, err := take(ctx)
			if err != nil {
				return none{}, err
			}
			restate.ResolveAwakeable(ctx, id, value)
			return none{}, nil
		})).
		Handler("refuse", restate.NewObjectHandler(func(ctx restate.ObjectContext, reason string) (none, error) {
			id, err := take(ctx)
			if err != nil {
				return none{}, err
			}
			restate.RejectAwakeable(ctx, id, terminal(500, reason))
			return none{}, nil
		}))
}

// text gives the value, or says that it was rejected.
func text(value string, err restate.TerminalError) string {
	if err != nil {
		return "rejected: " + err.Message()
	}
	return value
}

// makeHeld makes an awakeable whose id Holder/<key> holds.
func makeHeld(ctx restate.Context, key string) (awakeable, error) {
	made := restate.Awakeable[string](ctx)
	if _, err := restate.Object[none](ctx, "Holder", key, "hold").Request(made.Id()); err != nil {
		return nil, err
	}
	return made, nil
}

func awaiter() restate.ServiceDefinition {
	return restate.NewService("Awaiter").
		Handler("await", restate.NewServiceHandler(func(ctx restate.Context, k keyed) (string, error) {
			made, err := makeHeld(ctx, k.Key)
			if err != nil {
				return "", err
			}
			return text(made.Result()), nil
		})).
		Handler("awaitTimeout", restate.NewServiceHandler(func(ctx restate.Context, k keyed) (string, error) {
			made, err := makeHeld(ctx, k.Key)
			if err != nil {
				return "", err
			}
			first, cancelled := restate.WaitFirst(ctx, made, restate.After(ctx, millis(k.Ms)))
			if cancelled != nil {
				return "", cancelled
			}
			if first != made {
				return "timeout", nil
			}
			return text(made.Result()), nil
		})).
		Handler("awaitLate", restate.NewServiceHandler(func(ctx restate.Context, k keyed) (string, error) {
			made, err := makeHeld(ctx, k.Key)
			if err != nil {
				return "", err
			}
			if err := restate.Sleep(ctx, millis(k.Ms)); err != nil {
				return "", err
			}
			return text(made.Result()), nil
		}))
}

func makeMany(ctx restate.Context, key string, n int) ([]awakeable, error) {
	many := make([]awakeable, n)
	for i := range many {
		var err error
		if many[i], err = makeHeld(ctx, fmt.Sprintf("%s-%d", key, i)); err != nil {
			return nil, err
		}
	}
	return many, nil
}

func futures[F restate.Future](of []F) []restate.Future {
	all := make([]restate.Future, len(of))
	for i, one := range of {
		all[i] = one
	}
	return all
}

// inOrder calls back with the index of each as they complete, until told to stop.
func inOrder(ctx restate.Context, of []restate.Future, each func(i int) (isDone bool)) error {
	for first, cancelled := range restate.Wait(ctx, of...) {
		if cancelled != nil {
			return cancelled
		}
		if each(slices.Index(of, first)) {
			return nil
		}
	}
	return nil
}

func firstOf(ctx restate.Context, of []restate.Future) (int, error) {
	winner := -1
	err := inOrder(ctx, of, func(i int) bool {
		winner = i
		return true
	})
	return winner, err
}

// combined makes a handler that gets awakeables.
func combined[O any](fn func(ctx restate.Context, of []awakeable) (O, error)) func(restate.Context, keyed) (O, error) {
	return func(ctx restate.Context, k keyed) (O, error) {
		many, err := makeMany(ctx, k.Key, k.N)
		if err != nil {
			var zero O
			return zero, err
		}
		return fn(ctx, many)
	}
}

func allOf(ctx restate.Context, of []awakeable) (any, error) {
	rejected := ""
	values := make([]string, len(of))
	err := inOrder(ctx, futures(of), func(i int) bool {
		value, err := of[i].Result()
		if err != nil {
			rejected = text("", err)
		}
		values[i] = value
		return err != nil
	})
	if rejected != "" {
		return rejected, err
	}
	return values, err
}

func anyOf(ctx restate.Context, of []awakeable) (string, error) {
	found := "all rejected"
	err := inOrder(ctx, futures(of), func(i int) bool {
		value, err := of[i].Result()
		if err == nil {
			found = value
		}
		return err == nil
	})
	return found, err
}

func combine() restate.ServiceDefinition {
	return restate.NewService("Combine").
		Handler("all", restate.NewServiceHandler(combined(allOf))).
		Handler("any", restate.NewServiceHandler(combined(anyOf))).
		Handler("race", restate.NewServiceHandler(combined(func(ctx restate.Context, of []awakeable) (string, error) {
			winner, err := firstOf(ctx, futures(of))
			if err != nil {
				return "", err
			}
			return text(of[winner].Result()), nil
		}))).
		Handler("allSettled", restate.NewServiceHandler(combined(
			func(ctx restate.Context, of []awakeable) ([]string, error) {
				texts := make([]string, len(of))
				err := inOrder(ctx, futures(of), func(i int) bool {
					texts[i] = text(of[i].Result())
					return false
				})
				return texts, err
			}))).
		Handler("select", restate.NewServiceHandler(combined(func(ctx restate.Context, of []awakeable) (int, error) {
			return firstOf(ctx, futures(of))
		}))).
		Handler("order", restate.NewServiceHandler(func(ctx restate.Context, naps []int) ([]int, error) {
			sleeps := make([]restate.Future, len(naps))
			for i, ms := range naps {
				sleeps[i] = restate.After(ctx, millis(ms))
			}
			order := []int{}
			err := inOrder(ctx, sleeps, func(i int) bool {
				order = append(order, i)
				return false
			})
			return order, err
		})).
		Handler("timeout", restate.NewServiceHandler(func(ctx restate.Context, ms int) (string, error) {
			never, limit := restate.Awakeable[string](ctx), restate.After(ctx, millis(ms))
			winner, err := firstOf(ctx, []restate.Future{never, limit})
			if winner == 1 {
				return "timeout", err
			}
			return "completed", err
		})).
		Handler("sameWinner", restate.NewServiceHandler(func(ctx restate.Context, k keyed) (bool, error) {
			many, err := makeMany(ctx, k.Key, 2)
			if err != nil {
				return false, err
			}
			winner, err := firstOf(ctx, futures(many))
			if err != nil {
				return false, err
			}
			stored, failed := restate.Run(ctx, func(restate.RunContext) (int, error) { return winner, nil })
			if failed != nil {
				return false, failed
			}
			if attempt("sameWinner", k.Key) == 1 {
				return false, errAsked
			}
			return winner == stored, nil
		})).
		Handler("cancelLoser", restate.NewServiceHandler(func(ctx restate.Context, _ none) (string, error) {
			sleep := restate.Service[string](ctx, "Sleeper", "sleep")
			calls := []restate.ResponseFuture[string]{
				sleep.RequestFuture(time.Hour.Milliseconds()), sleep.RequestFuture(1),
			}
			winner, err := firstOf(ctx, futures(calls))
			if err != nil {
				return "", err
			}
			loser := calls[1-winner].GetInvocationId()
			restate.CancelInvocation(ctx, loser)
			return loser, nil
		}))
}
