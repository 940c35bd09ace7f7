package main

import (
	restate "github.com/restatedev/sdk-go"
)

// ListObject, MapObject and LazyMap: every way to use state, with and without its being sent along.

type entry struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func listObject() restate.ServiceDefinition {
	return restate.NewObject("ListObject").
		Handler("append", restate.NewObjectHandler(func(ctx restate.ObjectContext, value string) (int, error) {
			list, err := read[[]string](ctx, "list")
			if err != nil {
				return 0, err
			}
			list = append(list, value)
			restate.Set(ctx, "list", list)
			return len(list), nil
		})).
		Handler("get", restate.NewObjectSharedHandler(func(ctx restate.ObjectSharedContext, _ none) ([]string, error) {
			list, err := read[[]string](ctx, "list")
			return orEmpty(list), err
		})).
		Handler("clear", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ none) ([]string, error) {
			list, err := read[[]string](ctx, "list")
			if err != nil {
				return nil, err
			}
			restate.Clear(ctx, "list")
			return orEmpty(list), nil
		}))
}

// churn reads, writes and clears in one execution.
func churn(ctx restate.ObjectContext, name string) ([]any, error) {
	var seen []any
	look := func() error {
		value, err := read[*string](ctx, name)
		seen = append(seen, value)
		return err
	}
	if err := look(); err != nil {
		return nil, err
	}
	restate.Set(ctx, name, "1")
	if err := look(); err != nil {
		return nil, err
	}
	restate.Clear(ctx, name)
	if err := look(); err != nil {
		return nil, err
	}
	restate.Set(ctx, name, "2")
	restate.ClearAll(ctx)
	if err := look(); err != nil {
		return nil, err
	}
	keys, err := names(ctx)
	if err != nil {
		return nil, err
	}
	restate.Set(ctx, name, "3")
	return append(seen, keys), nil
}

// mapObject makes the same handlers for both ways to get at state.
func mapObject(service string, isLazy bool) restate.ServiceDefinition {
	return restate.NewObject(service, restate.WithEnableLazyState(isLazy)).
		Handler("set", restate.NewObjectHandler(func(ctx restate.ObjectContext, e entry) (none, error) {
			restate.Set(ctx, e.Name, e.Value)
			return none{}, nil
		})).
		Handler("setMany", restate.NewObjectHandler(func(ctx restate.ObjectContext, entries []entry) (none, error) {
			for _, e := range entries {
				restate.Set(ctx, e.Name, e.Value)
			}
			return none{}, nil
		})).
		Handler("get", restate.NewObjectSharedHandler(func(ctx restate.ObjectSharedContext, name string) (*string, error) {
			return read[*string](ctx, name)
		})).
		Handler("getExclusive", restate.NewObjectHandler(func(ctx restate.ObjectContext, name string) (*string, error) {
			return read[*string](ctx, name)
		})).
		Handler("clear", restate.NewObjectHandler(func(ctx restate.ObjectContext, name string) (none, error) {
			restate.Clear(ctx, name)
			return none{}, nil
		})).
		Handler("clearAll", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ none) ([]string, error) {
			keys, err := names(ctx)
			if err != nil {
				return nil, err
			}
			restate.ClearAll(ctx)
			return keys, nil
		})).
		Handler("keys", restate.NewObjectSharedHandler(func(ctx restate.ObjectSharedContext, _ none) ([]string, error) {
			return names(ctx)
		})).
		Handler("entries", restate.NewObjectSharedHandler(
			func(ctx restate.ObjectSharedContext, _ none) (map[string]string, error) {
				return entries[string](ctx)
			})).
		Handler("churn", restate.NewObjectHandler(churn))
}

// entries gives all state.
func entries[T any](ctx restate.ObjectSharedContext) (map[string]T, error) {
	keys, err := names(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]T{}
	for _, name := range keys {
		if all[name], err = read[T](ctx, name); err != nil {
			return nil, err
		}
	}
	return all, nil
}
