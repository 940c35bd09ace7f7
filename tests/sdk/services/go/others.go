package main

import (
	"encoding/json"
	"fmt"
	"time"

	restate "github.com/restatedev/sdk-go"
)

// Blocker, Tree and Signals: invocations that wait for each other, are cancelled, and signal each other.

// plain turns a nil of the SDK's error type into a nil error.
func plain[T any](value T, err restate.TerminalError) (T, error) {
	if err != nil {
		return value, err
	}
	return value, nil
}

func blocker() restate.ServiceDefinition {
	type other struct {
		Key   string `json:"key"`
		Input string `json:"input"`
	}
	gateOf := func(ctx restate.WorkflowSharedContext) restate.DurablePromise[string] {
		return restate.Promise[string](ctx, "gate")
	}
	return restate.NewWorkflow("Blocker").
		Handler("run", restate.NewWorkflowHandler(func(ctx restate.WorkflowContext, input string) (string, error) {
			restate.Set(ctx, "stage", "waiting")
			restate.Set(ctx, "input", input)
			value, err := gateOf(ctx).Result()
			if err != nil {
				return "", err
			}
			restate.Set(ctx, "stage", "passed")
			result := input + " " + value
			if err := restate.Promise[string](ctx, "done").Resolve(result); err != nil {
				return "", err
			}
			return result, nil
		})).
		Handler("stage", restate.NewWorkflowSharedHandler(
			func(ctx restate.WorkflowSharedContext, _ none) (*string, error) { return read[*string](ctx, "stage") })).
		Handler("resolve", restate.NewWorkflowSharedHandler(
			func(ctx restate.WorkflowSharedContext, value string) (none, error) {
				return plain(none{}, gateOf(ctx).Resolve(value))
			})).
		Handler("reject", restate.NewWorkflowSharedHandler(
			func(ctx restate.WorkflowSharedContext, reason string) (none, error) {
				return plain(none{}, gateOf(ctx).Reject(terminal(500, reason)))
			})).
		Handler("peek", restate.NewWorkflowSharedHandler(
			func(ctx restate.WorkflowSharedContext, _ none) (*string, error) {
				return plain(restate.Promise[*string](ctx, "gate").Peek())
			})).
		Handler("awaitGate", restate.NewWorkflowSharedHandler(
			func(ctx restate.WorkflowSharedContext, _ none) (string, error) { return plain(gateOf(ctx).Result()) })).
		Handler("awaitDone", restate.NewWorkflowSharedHandler(
			func(ctx restate.WorkflowSharedContext, _ none) (string, error) {
				return plain(restate.Promise[string](ctx, "done").Result())
			})).
		Handler("submit", restate.NewWorkflowSharedHandler(
			func(ctx restate.WorkflowSharedContext, o other) (string, error) {
				return plain(restate.Workflow[string](ctx, "Blocker", o.Key, "run").Request(o.Input))
			}))
}

type node struct {
	Key   string `json:"key"`
	Level int    `json:"level"`
	Wait  string `json:"wait"`
}

// waitForever waits as the node says.
func waitForever(ctx restate.ObjectContext, how string) restate.TerminalError {
	var err restate.TerminalError
	switch how {
	case "sleep":
		err = restate.Sleep(ctx, time.Hour)
	case "awakeable":
		_, err = restate.Awakeable[string](ctx).Result()
	default:
		_, err = restate.Signal[string](ctx, "never").Result()
	}
	return err
}

func tree() restate.ServiceDefinition {
	note := func(ctx restate.ObjectContext, key, line string) restate.TerminalError {
		_, err := restate.Object[int](ctx, "ListObject", key, "append").Request(line)
		return err
	}
	return restate.NewObject("Tree").
		Handler("grow", restate.NewObjectHandler(func(ctx restate.ObjectContext, n node) (none, error) {
			var failed restate.TerminalError
			if n.Level > 0 {
				below := node{n.Key, n.Level - 1, n.Wait}
				key := fmt.Sprintf("%s-%d", n.Key, below.Level)
				_, failed = restate.Object[none](ctx, "Tree", key, "grow").Request(below)
			} else {
				if err := note(ctx, n.Key, "ready"); err != nil {
					return none{}, err
				}
				failed = waitForever(ctx, n.Wait)
			}
			if failed == nil {
				return none{}, nil
			}
			if err := note(ctx, n.Key, fmt.Sprintf("undo %d %d", n.Level, failed.Code())); err != nil {
				return none{}, err
			}
			return none{}, failed
		})).
		Handler("idle", restate.NewObjectHandler(func(restate.ObjectContext, none) (string, error) { return "idle", nil }))
}

type signal struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Value  string `json:"value"`
	Reason string `json:"reason"`
}

func signals() restate.ServiceDefinition {
	return restate.NewService("Signals").
		Handler("wait", restate.NewServiceHandler(func(ctx restate.Context, s signal) (string, error) {
			return text(restate.Signal[string](ctx, s.Name).Result()), nil
		})).
		Handler("waitTwice", restate.NewServiceHandler(func(ctx restate.Context, s signal) ([]string, error) {
			first := text(restate.Signal[string](ctx, s.Name).Result())
			return []string{first, text(restate.Signal[string](ctx, s.Name).Result())}, nil
		})).
		Handler("resolve", restate.NewServiceHandler(func(ctx restate.Context, s signal) (none, error) {
			restate.ResolveSignal(ctx, s.ID, s.Name, s.Value)
			return none{}, nil
		})).
		Handler("reject", restate.NewServiceHandler(func(ctx restate.Context, s signal) (none, error) {
			restate.RejectSignal(ctx, s.ID, s.Name, terminal(500, s.Reason))
			return none{}, nil
		})).
		Handler("cancel", restate.NewServiceHandler(func(ctx restate.Context, s signal) (none, error) {
			restate.CancelInvocation(ctx, s.ID)
			return none{}, nil
		})).
		Handler("attach", restate.NewServiceHandler(func(ctx restate.Context, s signal) (map[string]any, error) {
			output, err := restate.AttachInvocation[json.RawMessage](ctx, s.ID).Response()
			if err != nil {
				return map[string]any{"error": errorText(err)}, nil
			}
			return map[string]any{"ok": output}, nil
		}))
}
