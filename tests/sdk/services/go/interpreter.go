package main

import (
	"fmt"
	"time"

	restate "github.com/restatedev/sdk-go"
)

// Interpreter: executes programs of commands, so that a test can make up what a handler does.

type command struct {
	Op             string    `json:"op"`
	Name           string    `json:"name,omitempty"`
	Value          int       `json:"value,omitempty"`
	Ms             *int      `json:"ms,omitempty"`
	Times          int       `json:"times,omitempty"`
	Code           int       `json:"code,omitempty"`
	Message        string    `json:"message,omitempty"`
	Key            string    `json:"key,omitempty"`
	ID             string    `json:"id,omitempty"`
	IdempotencyKey string    `json:"idempotencyKey,omitempty"`
	Program        []command `json:"program,omitempty"`
	Body           []command `json:"body,omitempty"`
	Branches       []command `json:"branches,omitempty"`
}

// branch is what was started, with how to get its result once it is there.
type branch struct {
	future restate.Future
	result func() (int, restate.TerminalError)
}

// execution of a program, with what it has added up.
type execution struct {
	ctx restate.ObjectContext
	acc int
}

func (e *execution) run(program []command, around string) error {
	for i, c := range program {
		if err := e.execute(c, fmt.Sprintf("%s%d", around, i)); err != nil {
			return err
		}
	}
	return nil
}

func (e *execution) other(key string) restate.Client[any, int] {
	return restate.Object[int](e.ctx, "Interpreter", key, "run")
}

// start starts what can also be a branch.
func (e *execution) start(c command) (branch, error) {
	switch c.Op {
	case "sleep":
		timer := restate.After(e.ctx, millis(*c.Ms))
		return branch{timer, func() (int, restate.TerminalError) { return 0, timer.Done() }}, nil
	case "step":
		step := restate.RunAsync(e.ctx, func(restate.RunContext) (int, error) { return c.Value, nil })
		return branch{step, step.Result}, nil
	case "call":
		call := e.other(c.Key).RequestFuture(orEmpty(c.Program))
		return branch{call, call.Response}, nil
	case "attach":
		id := e.other(c.Key).Send(orEmpty(c.Program)).GetInvocationId()
		attached := restate.AttachInvocation[int](e.ctx, id)
		return branch{attached, attached.Response}, nil
	case "awakeable":
		made := restate.Awakeable[int](e.ctx)
		e.other(c.Key).Send([]command{{Op: "resolve", ID: made.Id(), Value: c.Value}})
		return branch{made, made.Result}, nil
	}
	return branch{}, terminal(400, c.Op+" is no command")
}

func (e *execution) startAll(branches []command) ([]branch, error) {
	started := make([]branch, len(branches))
	for i, c := range branches {
		var err error
		if started[i], err = e.start(c); err != nil {
			return nil, err
		}
	}
	return started, nil
}

func (e *execution) finish(b branch) error {
	n, err := b.result()
	if err != nil {
		return err
	}
	e.acc += n
	return nil
}

// countFailure adds one if what was awaited ended in a terminal error.
func (e *execution) countFailure(_ int, err restate.TerminalError) {
	if err != nil {
		e.acc++
	}
}

func (e *execution) execute(c command, at string) error {
	switch c.Op {
	case "set":
		restate.Set(e.ctx, c.Name, c.Value)
	case "add", "get":
		n, err := read[int](e.ctx, c.Name)
		if err != nil {
			return err
		}
		if c.Op == "add" {
			restate.Set(e.ctx, c.Name, n+c.Value)
		} else {
			e.acc += n
		}
	case "clear":
		restate.Clear(e.ctx, c.Name)
	case "keys":
		_, err := names(e.ctx)
		return err
	case "flaky":
		n, err := restate.Run(e.ctx, func(restate.RunContext) (int, error) {
			_, err := failFirst("flaky", e.ctx.Request().ID+" "+at, c.Times)
			return c.Value, err
		}, restate.WithInitialRetryInterval(10*time.Millisecond), restate.WithRetryIntervalFactor(1))
		if err != nil {
			return err
		}
		e.acc += n
	case "crash":
		_, err := failFirst("crash", e.ctx.Request().ID+" "+at, c.Times)
		return err
	case "fail":
		return terminal(c.Code, c.Message)
	case "try":
		err := e.run(c.Body, at+".")
		if err != nil && !restate.IsTerminalError(err) {
			return err
		}
		if err != nil {
			e.acc += 1000
		}
	case "send":
		options := []restate.SendOption{}
		if c.Ms != nil {
			options = append(options, restate.WithDelay(millis(*c.Ms)))
		}
		e.other(c.Key).Send(orEmpty(c.Program), options...)
	case "idempotent":
		for range 2 {
			n, err := e.other(c.Key).Request(orEmpty(c.Program), restate.WithIdempotencyKey(c.IdempotencyKey))
			if err != nil {
				return err
			}
			e.acc += n
		}
	case "cancel":
		hour := 3_600_000
		id := e.other(c.Key).Send([]command{{Op: "sleep", Ms: &hour}}).GetInvocationId()
		restate.CancelInvocation(e.ctx, id)
		e.countFailure(restate.AttachInvocation[int](e.ctx, id).Response())
	case "rejected":
		made := restate.Awakeable[int](e.ctx)
		e.other(c.Key).Send([]command{{Op: "reject", ID: made.Id()}})
		e.countFailure(made.Result())
	case "resolve":
		restate.ResolveAwakeable(e.ctx, c.ID, c.Value)
	case "reject":
		restate.RejectAwakeable(e.ctx, c.ID, terminal(500, "rejected"))
	case "parallel", "race":
		return e.branches(c)
	default:
		one, err := e.start(c)
		if err != nil {
			return err
		}
		return e.finish(one)
	}
	return nil
}

// branches starts all in order; then it awaits them in order, or in a race as they complete.
func (e *execution) branches(c command) error {
	started, err := e.startAll(c.Branches)
	if err != nil {
		return err
	}
	if c.Op == "parallel" {
		for _, one := range started {
			if err := e.finish(one); err != nil {
				return err
			}
		}
		return nil
	}
	all := make([]restate.Future, len(started))
	for i, one := range started {
		all[i] = one.future
	}
	var failed error
	err = inOrder(e.ctx, all, func(i int) bool {
		failed = e.finish(started[i])
		return failed != nil
	})
	if err != nil {
		return err
	}
	return failed
}

func interpreter() restate.ServiceDefinition {
	return restate.NewObject("Interpreter").
		Handler("run", restate.NewObjectHandler(func(ctx restate.ObjectContext, program []command) (int, error) {
			e := execution{ctx: ctx}
			err := e.run(program, "")
			return e.acc, err
		})).
		Handler("state", restate.NewObjectSharedHandler(
			func(ctx restate.ObjectSharedContext, _ none) (map[string]int, error) { return entries[int](ctx) }))
}
