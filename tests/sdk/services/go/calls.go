package main

import (
	"fmt"

	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/encoding"
)

// Greeter and Caller: plain handlers, and calls and sends to other handlers.

type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

type addition struct {
	Key     string `json:"key"`
	N       int    `json:"n"`
	DelayMs int    `json:"delayMs,omitempty"`
}

type link struct {
	Key   string `json:"key"`
	Depth int    `json:"depth"`
}

type fan struct {
	Key   string `json:"key"`
	Width int    `json:"width"`
	N     int    `json:"n"`
}

func greeter() restate.ServiceDefinition {
	return restate.NewService("Greeter").
		Handler("greet", restate.NewServiceHandler(func(_ restate.Context, name string) (string, error) {
			return "Hello " + name, nil
		})).
		Handler("fail", restate.NewServiceHandler(func(_ restate.Context, f failure) (none, error) {
			return none{}, terminal(f.Code, f.Message)
		})).
		Handler("headers", restate.NewServiceHandler(func(ctx restate.Context, _ none) (map[string]string, error) {
			return ctx.Request().Headers.ToMap(), nil
		})).
		Handler("echoBytes", restate.NewServiceHandler(func(_ restate.Context, body []byte) ([]byte, error) {
			return body, nil
		}, restate.WithInputCodec(rawIn), restate.WithOutputCodec(rawOut)))
}

// rawCodec passes bytes on as they are. The SDK's own one insists on a body and on its content type.
type rawCodec struct{ contentType string }

var rawIn, rawOut = rawCodec{"*/*"}, rawCodec{"application/octet-stream"}

func (rawCodec) Marshal(v any) ([]byte, error)      { return encoding.BinaryCodec.Marshal(v) }
func (rawCodec) Unmarshal(data []byte, v any) error { return encoding.BinaryCodec.Unmarshal(data, v) }
func (r rawCodec) ContentType() string              { return r.contentType }
func (rawCodec) JsonSchema(any) any                 { return nil }
func (rawCodec) InputRequired() bool                { return false }

func add(ctx restate.Context, key string, n int) (int, error) {
	sum, err := restate.Object[int](ctx, "Counter", key, "add").Request(n)
	if err != nil {
		return 0, err
	}
	return sum, nil
}

func caller() restate.ServiceDefinition {
	return restate.NewService("Caller").
		Handler("callCounter", restate.NewServiceHandler(func(ctx restate.Context, a addition) (int, error) {
			return add(ctx, a.Key, a.N)
		})).
		Handler("callFailing", restate.NewServiceHandler(func(ctx restate.Context, f failure) (string, error) {
			if _, err := restate.Service[none](ctx, "Greeter", "fail").Request(f); err != nil {
				return errorText(err), nil
			}
			return "no error", nil
		})).
		Handler("sendCounter", restate.NewServiceHandler(func(ctx restate.Context, a addition) (string, error) {
			restate.ObjectSend(ctx, "Counter", a.Key, "add").Send(a.N)
			return "sent", nil
		})).
		Handler("sendDelayed", restate.NewServiceHandler(func(ctx restate.Context, a addition) (string, error) {
			restate.ObjectSend(ctx, "Counter", a.Key, "add").Send(a.N, restate.WithDelay(millis(a.DelayMs)))
			return "sent", nil
		})).
		Handler("sendForId", restate.NewServiceHandler(func(ctx restate.Context, a addition) (string, error) {
			return restate.ObjectSend(ctx, "Counter", a.Key, "add").Send(a.N).GetInvocationId(), nil
		})).
		Handler("chain", restate.NewServiceHandler(func(ctx restate.Context, l link) (int, error) {
			if l.Depth == 0 {
				return add(ctx, l.Key, 1)
			}
			sum, err := restate.Service[int](ctx, "Caller", "chain").Request(link{l.Key, l.Depth - 1})
			if err != nil {
				return 0, err
			}
			return sum, nil
		})).
		Handler("fanOut", restate.NewServiceHandler(func(ctx restate.Context, f fan) (int, error) {
			calls := make([]restate.ResponseFuture[int], f.Width)
			for i := range calls {
				key := fmt.Sprintf("%s-%d", f.Key, i)
				calls[i] = restate.Object[int](ctx, "Counter", key, "add").RequestFuture(f.N)
			}
			sum := 0
			for _, call := range calls {
				n, err := call.Response()
				if err != nil {
					return 0, err
				}
				sum += n
			}
			return sum, nil
		}))
}
