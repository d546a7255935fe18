// A client of fsboxd that nobody here wrote more of than main: varlink-go's library, and the bindings that its generator
// makes of the interface's text (package sandbox). Prints one line for each fact; tests/system/daemon_varlink.sh knows them.
//
//	varlink SOCKET FUNCTION
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/varlink/go/varlink"

	"sandbox"
)

func check(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func connect(ctx context.Context) *varlink.Connection {
	c, err := varlink.NewConnection(ctx, "unix:"+os.Args[1])
	check(err)
	return c
}

func about(ctx context.Context, c *varlink.Connection) {
	var vendor, product, version, url string
	var interfaces []string
	check(c.GetInfo(ctx, &vendor, &product, &version, &url, &interfaces))
	fmt.Println("info:", vendor, product, strings.Join(interfaces, " "))

	text, err := c.GetInterfaceDescription(ctx, "org.fsbox.Sandbox")
	check(err)
	fmt.Println("description:", strings.Count(text, "\nmethod ") > 15)

	_, _, level, _, features, _, _, limits, err := sandbox.Describe().Call(ctx, c)
	check(err)
	var of struct{ MaxCells int64 }
	check(json.Unmarshal(limits, &of))
	fmt.Println("describe:", level > 0, len(features) > 0, of.MaxCells > 0)

	_, _, _, _, _, _, _, cpus, warm, err := sandbox.Capacity().Call(ctx, c)
	check(err)
	fmt.Println("capacity:", cpus > 0, warm[os.Args[2]])
}

func calls(ctx context.Context, c *varlink.Connection) {
	name, unknown := os.Args[2], "unknown"
	event := json.RawMessage(`{"name":"go"}`)
	yes := true
	_, _, cell, status, _, payload, _, _, phases, usage, log, err := sandbox.Invoke().Call(ctx, c, &name, nil, nil,
		&sandbox.Payload{Json: &event}, nil, nil, nil, &yes, nil, nil)
	check(err)
	fmt.Println("invoke:", *status, string(*payload.Json), strings.TrimSpace(*log), *phases.CallUs > 0, usage.DurationUs > 0)

	_, _, _, _, _, _, _, _, _, _, _, err = sandbox.Invoke().Call(ctx, c, &unknown, nil, nil, nil, nil, nil, nil, nil, nil, nil)
	missing, typed := err.(*sandbox.NotFound)
	fmt.Println("error:", typed && missing.What == "function" && missing.Id == unknown)

	info, err := sandbox.Inspect().Call(ctx, c, *cell)
	check(err)
	fmt.Println("inspect:", info.Function, info.Calls > 0, info.Id == *cell)
}

func lists(ctx context.Context, c *varlink.Connection) {
	receive, err := sandbox.Functions().Send(ctx, c, varlink.More, nil)
	check(err)
	for flags := uint64(varlink.Continues); flags&varlink.Continues != 0; {
		var f *sandbox.Function
		f, flags, err = receive(ctx)
		check(err)
		fmt.Println("function:", f.Name, f.Runtime)
	}
}

// Subscribes on one connection and calls on another.
func events(ctx context.Context, c *varlink.Connection) {
	receive, err := sandbox.Subscribe().Send(ctx, c, varlink.More, nil)
	check(err)
	e, flags, err := receive(ctx)
	check(err)
	fmt.Println("first event:", e.Cursor, e.Kind, e.Function, *e.Status, flags&varlink.Continues != 0)

	other := connect(ctx)
	defer other.Close()
	_, _, _, _, _, _, _, _, _, _, _, err = sandbox.Invoke().Call(ctx, other, &os.Args[2], nil, nil, nil, nil, nil, nil, nil, nil, nil)
	check(err)
	for e.Kind != "called" {
		e, _, err = receive(ctx)
		check(err)
	}
	fmt.Println("event:", e.Function, *e.Status, e.Cursor > 0)
}

func main() {
	ctx := context.Background()
	c := connect(ctx)
	about(ctx, c)
	calls(ctx, c)
	lists(ctx, c)
	events(ctx, c)
	check(c.Close())
}
