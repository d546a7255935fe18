#!/bin/sh
# A hundred containers at once: each runs its own program, and nothing is left of any.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"

MANY=100

in_parallel() { # FUNCTION: called with 1 … $MANY, beside each other; its status into $T/status.N, streams into $T/out.N, $T/err.N
	for n in $(seq 1 "$MANY"); do
		(
			many_status=0
			"$1" "$n" >"$T/out.$n" 2>"$T/err.$n" || many_status=$?
			echo "$many_status" >"$T/status.$n"
		) &
	done
	wait
	failed=0
	for n in $(seq 1 "$MANY"); do
		[ "$(cat "$T/status.$n")" = 0 ] || {
			failed=$((failed + 1))
			note "$n: status $(cat "$T/status.$n"): $(head -c 300 "$T/err.$n")"
		}
		[ ! -s "$T/err.$n" ] || note "$n said: $(head -c 300 "$T/err.$n")"
	done
	[ "$failed" = 0 ] || fail "$failed of $MANY failed"
}

mounts() { sed 's/^[0-9]* [0-9]* //' /proc/self/mountinfo; } # of the host

runs() {
	mkdir "$T/b.$1"
	ln -s ../rootfs "$T/b.$1/rootfs"
	jq ".hostname = \"n$1\"" "$T/b/config.json" >"$T/b.$1/config.json"
	"$OCI" --root "$T/state" run --bundle "$T/b.$1" "$(oci_id "$1")"
}

test_a_hundred_runs_at_once() {
	need_oci
	bundle b '.process.args = ["sh", "-c", "echo here $(hostname)"]'
	mounts >"$T/before"
	in_parallel runs
	for n in $(seq 1 "$MANY"); do
		check_eq "$(cat "$T/out.$n")" "here n$n"
	done
	check_nothing_left
	mounts | check diff "$T/before" -
}

lives() { # an engine's steps, and a process more
	set -- "$(oci_id "$1")" "$1"
	"$OCI" --root "$T/state" create --bundle "$T/b" --pid-file "$T/pid.$2" "$1" &&
		"$OCI" --root "$T/state" start "$1" &&
		"$OCI" --root "$T/state" exec "$1" echo "in $2" &&
		"$OCI" --root "$T/state" state "$1" &&
		"$OCI" --root "$T/state" kill "$1" KILL &&
		"$OCI" --root "$T/state" delete --force "$1"
}

test_a_hundred_lives_at_once() {
	need_oci
	bundle b '.process.args = ["sleep", "600"]'
	mounts >"$T/before"
	in_parallel lives
	for n in $(seq 1 "$MANY"); do
		check_eq "$(head -n 1 "$T/out.$n")" "in $n"
		check_eq "$(sed 1d "$T/out.$n" | jq -r '"\(.id) \(.status) \(.pid)"')" "$(oci_id "$n") running $(cat "$T/pid.$n")"
	done
	for pid_file in "$T"/pid.*; do # they have no line ends
		cat "$pid_file" && echo
	done >"$T/pids"
	check_eq "$(sort -u "$T/pids" | wc -l)" "$MANY"
	check_nothing_left
	mounts | check diff "$T/before" -
}

# Only one can have an id: the others are told so, and the one is none the worse for it.
same_id() {
	"$OCI" --root "$T/state" run --bundle "$T/b" "$(oci_id same)" || {
		[ $? = 1 ] && grep -q 'already exists' "$T/err.$1" && : >"$T/err.$1" && echo refused
	}
}

test_a_hundred_who_want_the_same_id() {
	need_oci
	bundle b '.process.args = ["sh", "-c", "echo ran"]'
	in_parallel same_id
	check_eq "$(cat "$T"/out.* | grep -c -v -e ran -e refused)" 0
	check grep -qx ran "$T"/out.*
	check_nothing_left
}

run_tests "$@"
