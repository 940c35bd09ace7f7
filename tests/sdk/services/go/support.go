package main

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"sync"
	"time"

	restate "github.com/restatedev/sdk-go"
)

type none = restate.Void

func definitions() []restate.ServiceDefinition {
	return []restate.ServiceDefinition{
		greeter(), caller(), counter(), gate(), events(), steps(), sleeper(), proxy(), listObject(),
		mapObject("MapObject", false), mapObject("LazyMap", true), holder(), awaiter(), combine(), blocker(), tree(),
		signals(), nonDet(), interpreter(),
	}
}

// logStep appends one line to the file that STEP_LOG names, in one write; without STEP_LOG nothing happens.
func logStep(line string) error {
	path := os.Getenv("STEP_LOG")
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.WriteString(line + "\n")
	return err
}

// maybeFail fails the attempt with a retryable error in percent of 100 calls.
func maybeFail(percent float64, place string) error {
	if rand.Float64()*100 < percent {
		return fmt.Errorf("random failure %s the change", place)
	}
	return nil
}

// waitForFile hangs, with no durable command, until the file exists or the attempt is over.
func waitForFile(ctx restate.Context, file string) error {
	for {
		if _, err := os.Stat(file); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// attempts are counted by handler and key, in memory on purpose: a restarted process counts anew.
var attempts = struct {
	sync.Mutex
	of map[string]int
}{of: map[string]int{}}

// attempt counts one more of a handler and key.
func attempt(handler, key string) int {
	attempts.Lock()
	defer attempts.Unlock()
	attempts.of[handler+" "+key]++
	return attempts.of[handler+" "+key]
}

// counted says how many there were.
func counted(handler, key string) int {
	attempts.Lock()
	defer attempts.Unlock()
	return attempts.of[handler+" "+key]
}

// failFirst fails the first times attempts of a handler and key, retryable; then it gives the attempt's number.
func failFirst(handler, key string, times int) (int, error) {
	number := attempt(handler, key)
	if number <= times {
		return 0, fmt.Errorf("attempt %d of %s fails as asked", number, key)
	}
	return number, nil
}

func terminal(code int, message string) error {
	return restate.ToTerminalError(errors.New(message), restate.WithErrorCode(restate.Code(code)))
}

// errorText is what the contract calls so.
func errorText(err restate.TerminalError) string {
	return fmt.Sprintf("%d: %s", err.Code(), err.Message())
}

func millis(ms int) time.Duration {
	return time.Duration(ms) * time.Millisecond
}

// orEmpty gives a list that JSON does not show as null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
