package main

import (
	"errors"
	"fmt"
	"time"

	restate "github.com/restatedev/sdk-go"
)

// Steps, Sleeper and NonDet: durable steps, retries, sleeping, and handlers that replay differently than they ran.

type failTimes struct {
	Key   string `json:"key"`
	Times int    `json:"times"`
}

type policy struct {
	Key      string `json:"key"`
	Attempts uint   `json:"attempts"`
	Ms       int    `json:"ms"`
}

type keyed struct {
	Key string `json:"key"`
	N   int    `json:"n"`
	Ms  int    `json:"ms"`
}

var errAsked = errors.New("the first attempt fails as asked")

// runSteps logs `run` lines when a step's work is done, `ack` lines once its result is durable.
func runSteps(ctx restate.Context, n int, delay time.Duration) (int, error) {
	id := ctx.Request().ID
	for i := range n {
		err := restate.RunVoid(ctx, func(restate.RunContext) error {
			time.Sleep(delay)
			return logStep(fmt.Sprintf("run %s %d", id, i))
		}, restate.WithName(fmt.Sprintf("step-%d", i)))
		if err != nil {
			return 0, err
		}
		if err := logStep(fmt.Sprintf("ack %s %d", id, i)); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// runUntilGivenUp says how often a step ran that always fails.
func runUntilGivenUp(ctx restate.Context, handler, key string, options ...restate.RunOption) (int, error) {
	// Its terminal error is what is waited for.
	_ = restate.RunVoid(ctx, func(restate.RunContext) error {
		return fmt.Errorf("step %d of %s fails as asked", attempt(handler, key), key)
	}, options...)
	return counted(handler, key), nil
}

func steps() restate.ServiceDefinition {
	return restate.NewService("Steps").
		Handler("run", restate.NewServiceHandler(func(ctx restate.Context, n int) (int, error) {
			return runSteps(ctx, n, 0)
		})).
		Handler("runSlow", restate.NewServiceHandler(func(ctx restate.Context, slow struct {
			N       int `json:"n"`
			DelayMs int `json:"delayMs"`
		}) (int, error) {
			return runSteps(ctx, slow.N, millis(slow.DelayMs))
		})).
		Handler("failTimes", restate.NewServiceHandler(func(_ restate.Context, f failTimes) (int, error) {
			return failFirst("failTimes", f.Key, f.Times)
		})).
		Handler("failingStep", restate.NewServiceHandler(func(ctx restate.Context, f failTimes) (int, error) {
			number, err := restate.Run(ctx, func(restate.RunContext) (int, error) {
				return failFirst("failingStep", f.Key, f.Times)
			}, restate.WithInitialRetryInterval(10*time.Millisecond), restate.WithRetryIntervalFactor(1))
			if err != nil {
				return 0, err
			}
			return number, nil
		})).
		Handler("onEvent", restate.NewServiceHandler(func(ctx restate.Context, e event) (none, error) {
			if err := restate.RunVoid(ctx, func(restate.RunContext) error {
				return logStep(fmt.Sprintf("event %d", e.Seq))
			}); err != nil {
				return none{}, err
			}
			return none{}, nil
		})).
		Handler("exhausted", restate.NewServiceHandler(func(ctx restate.Context, p policy) (int, error) {
			return runUntilGivenUp(ctx, "exhausted", p.Key, restate.WithInitialRetryInterval(10*time.Millisecond),
				restate.WithRetryIntervalFactor(1), restate.WithMaxRetryAttempts(p.Attempts))
		})).
		Handler("outOfTime", restate.NewServiceHandler(func(ctx restate.Context, p policy) (int, error) {
			return runUntilGivenUp(ctx, "outOfTime", p.Key, restate.WithInitialRetryInterval(50*time.Millisecond),
				restate.WithRetryIntervalFactor(1), restate.WithMaxRetryDuration(millis(p.Ms)))
		})).
		Handler("terminalStep", restate.NewServiceHandler(func(ctx restate.Context, f failure) (string, error) {
			err := restate.RunVoid(ctx, func(restate.RunContext) error { return terminal(f.Code, f.Message) })
			if err == nil {
				return "no error", nil
			}
			return errorText(err), nil
		})).
		Handler("sameRandom", restate.NewServiceHandler(func(ctx restate.Context, k keyed) (bool, error) {
			drawn := restate.UUID(ctx).String()
			stored, err := restate.Run(ctx, func(restate.RunContext) (string, error) { return drawn, nil })
			if err != nil {
				return false, err
			}
			if attempt("sameRandom", k.Key) == 1 {
				return false, errAsked
			}
			return stored == drawn, nil
		})).
		Handler("logged", restate.NewServiceHandler(func(ctx restate.Context, k keyed) (none, error) {
			ctx.Log().Warn("logged " + k.Key)
			if err := restate.RunVoid(ctx, func(restate.RunContext) error { return nil }); err != nil {
				return none{}, err
			}
			if attempt("logged", k.Key) == 1 {
				return none{}, errAsked
			}
			return none{}, nil
		})).
		Handler("parallel", restate.NewServiceHandler(func(ctx restate.Context, k keyed) (int, error) {
			id := ctx.Request().ID
			running := make([]restate.RunAsyncFuture[none], k.N)
			for i := range running {
				running[i] = restate.RunAsync(ctx, func(restate.RunContext) (none, error) {
					if i == k.N-1 && attempt("parallel", k.Key) == 1 {
						return none{}, errAsked
					}
					return none{}, logStep(fmt.Sprintf("run %s %d", id, i))
				})
			}
			for _, one := range running {
				if _, err := one.Result(); err != nil {
					return 0, err
				}
			}
			return k.N, nil
		}))
}

func sleeper() restate.ServiceDefinition {
	sleep := func(ctx restate.Context, ms int) error {
		if err := restate.Sleep(ctx, millis(ms)); err != nil {
			return err
		}
		return nil
	}
	return restate.NewService("Sleeper").
		Handler("sleep", restate.NewServiceHandler(func(ctx restate.Context, ms int) (string, error) {
			return "slept", sleep(ctx, ms)
		})).
		Handler("sleepThenStep", restate.NewServiceHandler(func(ctx restate.Context, ms int) (string, error) {
			if err := sleep(ctx, ms); err != nil {
				return "", err
			}
			line := "slept " + ctx.Request().ID
			logged, err := restate.Run(ctx, func(restate.RunContext) (string, error) { return line, logStep(line) })
			if err != nil {
				return "", err
			}
			return logged, nil
		}))
}

// differ does one thing in odd attempts and another in even ones.
func differ(ctx restate.ObjectContext, kind string, isOdd bool) error {
	look := func(key string) error {
		if _, err := restate.Object[int](ctx, "Counter", key, "get").Request(none{}); err != nil {
			return err
		}
		return nil
	}
	name := "b"
	if isOdd {
		name = "a"
	}
	switch {
	case kind == "target":
		return look(restate.Key(ctx) + "-" + name)
	case kind == "command" && !isOdd:
		return look(restate.Key(ctx))
	case kind == "state":
		restate.Set(ctx, name, 1)
	}
	if err := restate.Sleep(ctx, time.Millisecond); err != nil {
		return err
	}
	return nil
}

func nonDet() restate.ServiceDefinition {
	return restate.NewObject("NonDet").
		Handler("run", restate.NewObjectHandler(func(ctx restate.ObjectContext, kind string) (int, error) {
			number := attempt("NonDet", restate.Key(ctx)+" "+kind)
			if err := differ(ctx, kind, number%2 == 1); err != nil {
				return 0, err
			}
			if number < 3 {
				return 0, fmt.Errorf("attempt %d fails as asked", number)
			}
			return number, nil
		}))
}
