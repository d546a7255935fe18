#!/bin/sh
# Clients of fsboxd that were not written here: varlinkctl of a Debian 13, and what varlink-go's generator and library of
# Debian 12 make of the interface's text. beside-guest
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

# ---- varlinkctl ----
# Of the root that the systemd tier has (tests/guest/root.sh): it needs no systemd that runs.
ROOT=$FSBOX_SRC/build/guest/systemd

need_varlinkctl() {
	[ -x "$ROOT/usr/bin/varlinkctl" ] && return
	command -v mmdebstrap >/dev/null || skip_host "needs varlinkctl, and there is no mmdebstrap to get it"
	timeout 200 sh "$FSBOX_SRC/tests/guest/root.sh" >"$T/root.log" 2>&1 || skip_host "no Debian 13 could be made"
	check [ -x "$ROOT/usr/bin/varlinkctl" ]
}

ctl() { # ARG...: S in one of them stands for the socket's path there
	# shellcheck disable=SC2016 # for the inner shell
	run unshare --mount --propagation private sh -c 'set -e
		root=$1 socket=$2
		shift 2
		mount -t tmpfs none "$root/run"
		mkdir "$root/run/fsbox"
		mount --bind "${socket%/*}" "$root/run/fsbox"
		mount -t proc proc "$root/proc"
		exec chroot "$root" timeout "${CTL_TIMEOUT:-30}" varlinkctl "$@"' sh "$ROOT" "$FSBOX_SOCKET" "$@"
}

records() { # JQ-EXPRESSION: of what came with --more -j, each answer behind a record separator (RFC 7464)
	tr -d '\036' <"$T/out" | jq -r "$1"
}

SOCKET=/run/fsbox/fsbox.sock

test_varlinkctl_reads_and_calls() {
	need_daemon
	need_varlinkctl
	daemon_start
	check_status 0 "$FSBOX" deploy hello "$EXAMPLES/hello.so"
	ctl info "$SOCKET"
	check_eq "$status" 0
	check_matches "$T/out" 'Product: fsboxd'
	check_matches "$T/out" 'org.fsbox.Sandbox'
	ctl list-methods "$SOCKET"
	check_contains "$T/out" org.fsbox.Sandbox.Invoke
	# Its parser takes our text, and so does its check of a file.
	ctl introspect "$SOCKET" org.fsbox.Sandbox
	check_eq "$status" 0
	check_contains "$T/out" 'method Invoke('
	check_contains "$T/out" 'error SlowConsumer('
	ctl introspect "$SOCKET" org.varlink.service
	check_eq "$status" 0
	ctl call "$SOCKET" org.fsbox.Sandbox.Describe '{}'
	check_eq "$(jq -r .vendor "$T/out")" fsbox
	ctl call "$SOCKET" org.fsbox.Sandbox.Invoke '{"function":"hello","event":{"json":{"name":"eve"}}}'
	check_eq "$(jq -c .payload.json "$T/out")" '{"message":"Hello, eve!"}'
	ctl call "$SOCKET" org.fsbox.Sandbox.Invoke '{"function":"unknown"}'
	check_eq "$status" 1
	check_contains "$T/err" org.fsbox.Sandbox.NotFound
	ctl call "$SOCKET" org.fsbox.Sandbox.Invoke '{"function":"hello","misspelt":1}'
	check_eq "$status" 1
	check_eq "$(cat "$T/out")" '{"parameter":"misspelt"}'
	daemon_stop
}

test_varlinkctl_follows_streams() {
	need_daemon
	need_varlinkctl
	daemon_start
	check_status 0 "$FSBOX" deploy hello "$EXAMPLES/hello.so"
	check_status 0 "$FSBOX" deploy echo "$FUNCTIONS/echo.so"
	ctl --more -j call "$SOCKET" org.fsbox.Sandbox.List '{}'
	check_eq "$status" 0
	ctl --more -j call "$SOCKET" org.fsbox.Sandbox.Functions '{}'
	check_eq "$(records .function.name | sort | tr '\n' ' ')" "echo hello "
	check_status 0 "$FSBOX" invoke hello
	(
		CTL_TIMEOUT=$(slow 5)
		ctl --more -j call "$SOCKET" org.fsbox.Sandbox.Subscribe '{}'
	) &
	subscriber=$!
	wait_for 100 grep -q '"cursor":0' "$T/out"
	"$FSBOX" invoke echo --event '"x"' >/dev/null 2>&1
	wait_for 50 grep -q '"kind":"called"' "$T/out"
	wait "$subscriber" || :
	check_eq "$(records 'select(.event.kind == "called") | .event.function + " " + .event.status')" "echo success"
	daemon_stop
}

# ---- varlink-go ----

test_bindings_that_varlink_go_generates_work() {
	need_daemon
	command -v varlink-go-interface-generator >/dev/null || skip "needs varlink-go"
	command -v go >/dev/null || skip "needs Go"
	library=/usr/share/gocode
	[ -d "$library/src/github.com/varlink/go" ] || skip "needs golang-github-varlink-go-dev"
	daemon_start
	steps "$EXAMPLES" <<-'END'
		with open(T + "/idl", "w") as f:
		    f.write(c.call("org.varlink.service.GetInterfaceDescription", interface="org.fsbox.Sandbox")["description"])
		c.deploy("hello", sys.argv[1] + "/hello.so")
		eq(c.invoke("hello")["status"], "success")
	END
	# Version 0.4 takes names of interfaces in small letters only, which excludes systemd's, too.
	mkdir -p "$T/go/src/sandbox" "$T/go/src/client"
	sed 's/^interface org.fsbox.Sandbox$/interface org.fsbox.sandbox/' "$T/idl" >"$T/go/src/sandbox/sandbox.varlink"
	check_lacks "$T/go/src/sandbox/sandbox.varlink" 'interface org.fsbox.Sandbox'
	(cd "$T/go/src/sandbox" && varlink-go-interface-generator sandbox.varlink)
	sed 's/org\.fsbox\.sandbox/org.fsbox.Sandbox/g; s/^package .*/package sandbox/' "$T/go/src/sandbox/orgfsboxsandbox.go" \
		>"$T/go/src/sandbox/sandbox.go"
	rm "$T/go/src/sandbox/orgfsboxsandbox.go"
	cp "$FSBOX_SRC/tests/clients/varlink.go" "$T/go/src/client"
	run env GO111MODULE=off GOFLAGS= GOPATH="$T/go:$library" GOCACHE="$T/cache" HOME="$T" \
		go build -o "$T/client" client
	check_eq "$status" 0
	check_status 0 timeout 60 "$T/client" "$FSBOX_SOCKET" hello
	check_eq "$(cat "$T/out")" 'info: fsbox fsboxd org.varlink.service org.fsbox.Sandbox
description: true
describe: true true true
capacity: true 1
invoke: success {"message":"Hello, go!"} greeting go true true
error: true
inspect: hello true true
function: hello native
first event: 0 started hello idle true
event: hello success true'
	daemon_stop
}
run_tests
