#!/bin/sh
# Software that was not written here, unmodified in cells: AWS's own runtime interface client for Node.js and its C++ library
# as custom runtimes, middleware and Powertools as libraries of a handler. docs/runtimes.md has the matrix.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/snapshot.sh
. "$(dirname "$0")/../lib/snapshot.sh"
LONG=$((20 * ${FSBOX_SLOWER:-1})) # seconds for what is not about time

CLIENTS=$FSBOX_SRC/build/clients
[ -x "$CLIENTS/cpp/bootstrap" ] || {
	echo '1..0 # SKIP the clients are not built: sh tools/clients.sh'
	exit 0
}

# Cold, warm, an error, and on; then a timeout, and 6 MB. What answers to "fail" is $1.
client() { # ERROR-TYPE fsbox run's arguments
	client_type=$1
	shift
	cell_status 1 --mem 512 --timeout "$LONG" "$@" --event '{"a":1}' --event '"fail"' --event 3
	check_contains "$T/out" '{"a":1}'
	check_eq "$(sed -n 2p "$T/out" | jq -r '[.errorType, .errorMessage] | join(": ")')" "$client_type: as asked"
	check_contains "$T/out" 3
	check_eq "$(grep -c 'Init Duration' "$T/err")" 1
	cell_status 124 --mem 512 --timeout "${FSBOX_SLOWER:-1}" "$@" --event '"sleep"'
	cell_status 0 --mem 512 --timeout "$LONG" "$@" --event '"big"'
	check_eq "$(wc -c <"$T/out")" 6291456
}

# Ten clones of one snapshot, each with a call of its own and a warm one.
clones() { # HOW fsbox run's arguments
	clones_how=$1
	shift
	snapshot_status 0 create --mem 512 "$@"
	for i in 1 2 3 4 5 6 7 8 9 10; do
		cell_status 0 --mem 512 --timeout "$LONG" "--snapshot=$clones_how" "$@" --event "{\"clone\":$i}" --event 7
		restored
		check_contains "$T/out" "{\"clone\":$i}"
	done
}

test_the_runtime_interface_client_for_node() {
	need_root
	watch_world
	client TypeError --handler app.handler "$CLIENTS/ric"
	cell_status 0 --mem 512 --timeout "$LONG" --handler app.stream "$CLIENTS/ric"
	check_eq "$(cat "$T/out")" 'one two'
	check_world
}

test_the_runtime_interface_client_for_node_from_a_snapshot() {
	own_store
	clones unseeded --handler app.handler "$CLIENTS/ric"
	check_store
}

test_the_cpp_library() {
	need_root
	watch_world
	client Own.Type "$CLIENTS/cpp/bootstrap"
	check_world
}

test_the_cpp_library_from_a_snapshot() {
	own_store
	clones unseeded "$CLIENTS/cpp/bootstrap"
	check_store
}

# By its runtime client and by our own runtime, the same handler.
test_middleware_and_powertools_in_a_handler() {
	need_root
	watch_world
	for how in 'custom' 'node'; do
		cell_status 0 --mem 512 --timeout "$LONG" --runtime "$how" --handler tools.handler "$CLIENTS/ric" --event '{"k":"v"}' --event '"fail"'
		check_eq "$(cat "$T/out")" '{"traced":false,"left":true}
{"caught":"RangeError"}'
		grep '^{' "$T/err" >"$T/records"
		check_eq "$(jq -r 'select(.message == "called") | .service' "$T/records" | sort -u)" clients
		check_eq "$(jq -r 'select(.message == "called") | .cold_start' "$T/records" | tr '\n' ' ')" 'true false '
		check_eq "$(jq -r 'select(._aws) | select(.ColdStart) | .ColdStart' "$T/records" | head -n 1)" 1
	done
	check_world
}

test_the_same_handler_by_our_own_runtime() {
	own_store
	client TypeError --runtime node --handler app.handler "$CLIENTS/ric"
	clones require --runtime node --handler app.handler "$CLIENTS/ric"
	check_store
}

run_tests "$@"
