package main

import (
	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/encoding"
)

// Proxy: any handler by name, with the bytes of the request.

type target struct {
	Service        string            `json:"service"`
	Handler        string            `json:"handler"`
	Key            *string           `json:"key"`
	Body           []byte            `json:"body"`
	Headers        map[string]string `json:"headers"`
	IdempotencyKey string            `json:"idempotencyKey"`
	DelayMs        *int              `json:"delayMs"`
}

type outcome struct {
	Ok    *[]byte `json:"ok,omitempty"`
	Error string  `json:"error,omitempty"`
}

// Go's JSON writes bytes as base64 already.
func (t target) client(ctx restate.Context) restate.Client[any, []byte] {
	raw := restate.WithCodec(encoding.BinaryCodec)
	if t.Key != nil {
		return restate.Object[[]byte](ctx, t.Service, *t.Key, t.Handler, raw)
	}
	return restate.Service[[]byte](ctx, t.Service, t.Handler, raw)
}

func (t target) call(ctx restate.Context) restate.ResponseFuture[[]byte] {
	options := []restate.RequestOption{restate.WithIdempotencyKey(t.IdempotencyKey)}
	if t.Headers != nil {
		options = append(options, restate.WithHeaders(t.Headers))
	}
	return t.client(ctx).RequestFuture(t.Body, options...)
}

func (t target) send(ctx restate.Context) restate.Invocation {
	options := []restate.SendOption{restate.WithIdempotencyKey(t.IdempotencyKey)}
	if t.Headers != nil {
		options = append(options, restate.WithHeaders(t.Headers))
	}
	if t.DelayMs != nil {
		options = append(options, restate.WithDelay(millis(*t.DelayMs)))
	}
	return t.client(ctx).Send(t.Body, options...)
}

func proxy() restate.ServiceDefinition {
	return restate.NewService("Proxy").
		Handler("call", restate.NewServiceHandler(func(ctx restate.Context, t target) ([]byte, error) {
			body, err := t.call(ctx).Response()
			if err != nil {
				return nil, err
			}
			return orEmpty(body), nil
		})).
		Handler("send", restate.NewServiceHandler(func(ctx restate.Context, t target) (string, error) {
			return t.send(ctx).GetInvocationId(), nil
		})).
		Handler("callMany", restate.NewServiceHandler(func(ctx restate.Context, targets []target) ([]outcome, error) {
			calls := make([]restate.ResponseFuture[[]byte], len(targets))
			for i, one := range targets {
				calls[i] = one.call(ctx)
			}
			outcomes := make([]outcome, len(calls))
			for i, call := range calls {
				body, err := call.Response()
				if err != nil {
					outcomes[i].Error = errorText(err)
					continue
				}
				body = orEmpty(body)
				outcomes[i].Ok = &body
			}
			return outcomes, nil
		}))
}
