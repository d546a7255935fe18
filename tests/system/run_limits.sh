#!/bin/sh
# Limits hold and are measured truly: memory, CPU share, processes, /tmp. As root and below a delegated group.
# time-limit: 240
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
LONG=$((20 * ${FSBOX_SLOWER:-1})) # seconds for what is not about time

# The value in the cell's group of FILE-V2 or FILE-V1, read from outside while it runs.
group_file() { # FILE-V2 FILE-V1
	if [ "$(cgroup_mode)" = v2 ]; then file=$1; else file=$2; fi
	# shellcheck disable=SC2046 # words
	find $(cgroup_roots) -xdev -maxdepth 4 -path "*/$GROUP_PARENT/cell-*/$file" -exec cat {} + 2>/dev/null | head -n 1
}

GROUP_PARENT=fsbox-test-limits

# A cell below a parent of this test's own, so that others' groups are not looked at.
start_cell() { # LOOK-FOR-LINE fsbox run's arguments: in the background, $fsbox_pid
	start_line=$1
	shift
	"$FSBOX" run --cgroup-parent "/$GROUP_PARENT" "$@" >"$T/out" 2>"$T/err" </dev/null &
	fsbox_pid=$!
	wait_for 50 grep -q "$start_line" "$T/err" || {
		show
		fail "the cell did not start"
	}
}

end_cell() {
	kill -TERM "$fsbox_pid" 2>/dev/null || :
	wait "$fsbox_pid" 2>/dev/null || :
	remove_parent
}

remove_parent() {
	for root in $(cgroup_roots); do
		rmdir "$root/$GROUP_PARENT" 2>/dev/null || :
	done
}

check_memory() {
	cell_status 0 --mem 512 --timeout "$LONG" "$FUNCTIONS/alloc.so" --event 480
	check_ask .mib 480
	cell_status 137 --mem 512 --timeout "$LONG" "$FUNCTIONS/alloc.so" --event 560
	check_ask .errorType Runtime.OutOfMemory
	cell_status 0 --mem 16 "$FUNCTIONS/echo.so"
}
test_512_mb_are_enough_for_480_and_too_little_for_560() {
	watch_world
	each_mode check_memory root delegated
	check_world
}

check_max_memory() {
	for mib in 20 200 400; do
		cell_status 0 --mem 512 --timeout "$LONG" "$FUNCTIONS/alloc.so" --event "$mib"
		used=$(sed -n 's/^REPORT.*Max Memory Used: \([0-9]*\) MB.*/\1/p' "$T/err")
		check_between "$used" "$mib" $((mib + mib / 10 + 2)) "Max Memory Used of a function that touches $mib MB"
	done
}
test_max_memory_used_is_within_10_percent_of_what_was_touched() {
	watch_world
	each_mode check_max_memory root delegated
	check_world
}

test_there_is_no_swap_for_a_cell() {
	need_root
	watch_world
	start_cell START --mem 64 --timeout 20 "$FUNCTIONS/sleep_forever.so"
	limit=$(group_file memory.max memory.limit_in_bytes)
	swap=$(group_file memory.swap.max memory.memsw.limit_in_bytes)
	swappiness=$(group_file memory.swap.max memory.swappiness)
	end_cell
	check_eq "$limit" 67108864
	if [ "$(cgroup_mode)" = v2 ]; then
		check_eq "$swap" 0
	elif [ -n "$swap" ]; then
		check_eq "$swap" 67108864
	else # a kernel that does not count swap: it is at least not chosen
		check_eq "$swappiness" 0
	fi
	check_world
}

test_pages_in_tmp_count_against_the_memory() {
	need_root
	watch_world
	cell_status 0 --mem 64 --tmp 100 --timeout "$LONG" "$FUNCTIONS/alloc.so" --event '"tmp 40"'
	check_ask .mib 40
	cell_status 137 --mem 64 --tmp 100 --timeout "$LONG" "$FUNCTIONS/alloc.so" --event '"tmp 90"'
	check_ask .errorType Runtime.OutOfMemory
	check_world
}

check_tmp() {
	cell_status 0 --tmp 16 --mem 128 --timeout "$LONG" "$FUNCTIONS/fill_tmp.so"
	check_ask .errno 28
	check_between "$(ask .bytes)" 15000000 16777216 "bytes in a /tmp of 16 MB"
}
test_a_full_tmp_is_an_error_of_the_function_and_nothing_else() {
	watch_world
	each_mode check_tmp
	check_world
}

check_tmp_is_kept() {
	cell_status 0 --tmp 16 --timeout "$LONG" "$FUNCTIONS/fill_tmp.so" --event '"keep"' --event 1
	# the second call finds the file of the first; its own cell's /tmp is gone with the cell
	cell_status 0 --tmp 16 --timeout "$LONG" "$FUNCTIONS/inspect.so"
	check_ask '.tmp | length' 0
}
test_tmp_lives_as_long_as_the_cell() {
	watch_world
	each_mode check_tmp_is_kept root user
	check_world
}

# ---- Processes ----

most_pids() { # samples pids.current of the cell until fsbox ends; the largest is $most
	most=0
	while kill -0 "$fsbox_pid" 2>/dev/null; do
		seen=$(group_file pids.current pids.current)
		[ "${seen:-0}" -le "$most" ] || most=$seen
		nap 0.05
	done
}

test_a_fork_bomb_stays_below_its_limit_and_ends_at_the_timeout() {
	need_root
	watch_world
	before=$(find /proc -maxdepth 1 -name '[0-9]*' | wc -l)
	time=1.5
	[ "${FSBOX_SLOWER:-1}" = 1 ] || time=$((2 * FSBOX_SLOWER))
	start_cell START --pids 60 --mem 256 --timeout "$time" "$FUNCTIONS/fork_bomb.so"
	limit=$(group_file pids.max pids.max)
	most_pids
	status=0
	wait "$fsbox_pid" || status=$?
	remove_parent
	check_eq "$limit" 60
	check_eq "$status" 124
	check_between "$most" 30 60 "processes of a fork bomb with --pids 60"
	check_contains "$T/out" Sandbox.Timedout
	check_world
	after=$(find /proc -maxdepth 1 -name '[0-9]*' | wc -l)
	check_between "$after" 1 $((before + 20)) "processes on the machine afterwards"
}

check_default_pids() {
	cell --timeout 2 --mem 512 "$FUNCTIONS/fork_bomb.so"
	check_eq "$status" 124
}
test_a_fork_bomb_with_the_default_limit_is_over_soon_after_the_timeout() {
	watch_world
	need_root
	begin=$(now_ms)
	check_default_pids
	check_between "$(($(now_ms) - begin))" 1900 "$(slow 7000)" "milliseconds of a fork bomb with --timeout 2"
	check_world
}

test_threads_count_as_processes() {
	need_root
	watch_world
	cell_status 0 --pids 32 "$FUNCTIONS/thread.so"
	cell --pids 4 "$FUNCTIONS/thread.so"
	check_ne "$status" 0
	check_world
}

# ---- CPU ----

share_of() { # fsbox run's arguments: CPU time over wall time
	cell_status 0 --timeout 30 "$@"
	ask '.cpu_ns / .wall_ns'
}

# More than the share is wrong at once. Less may be the doing of others on this machine: up to ten looks.
check_share() { # MEMORY PERCENT FUNCTION [MS]
	want=$(awk -v m="$1" -v cpus="$(nproc)" 'BEGIN { w = m / 1769; print (w > cpus ? cpus : w) }')
	for try in 1 2 3 4 5 6 7 8 9 10; do
		got=$(share_of --mem "$1" "$3" --event "${4:-1000}") || fail "$got"
		off=$(awk -v w="$want" -v g="$got" 'BEGIN { printf "%.1f", (g - w) / w * 100 }')
		awk -v off="$off" -v p="$2" 'BEGIN { exit !(off <= p) }' || break
		awk -v off="$off" -v p="$2" 'BEGIN { exit !(off >= -p) }' && return 0
		note "$1 MB, look $try: share $got, wanted $want"
	done
	fail "[$MODE] the share of --mem $1 is $got, off by $off % of $want"
}

check_shares() {
	for mem in 128 512 1024; do
		check_share "$mem" 10 "$FUNCTIONS/busy.so"
	done
}
test_the_cpu_share_follows_the_memory_at_128_512_and_1024_mb() {
	watch_world
	need_root
	check_shares
	check_world
}

test_the_cpu_share_follows_the_memory_in_a_delegated_group_too() {
	watch_world
	each_mode check_delegated_share delegated
	check_world
}
check_delegated_share() {
	cell_status 0 --mem 256 --timeout 30 "$FUNCTIONS/busy.so" --event 1500
	check_between "$(ask '.cpu_ns / .wall_ns')" 0.115 0.16 "share of 256 MB"
}

test_1769_mb_are_one_cpu_and_twice_that_are_two() {
	watch_world
	need_root
	check_share 1769 15 "$FUNCTIONS/busy.so" 1000
	check_share 1769 15 "$FUNCTIONS/busy_threads.so" 1000
	check_share 3538 15 "$FUNCTIONS/busy_threads.so" 1000
	check_world
}

test_init_has_a_whole_cpu_unless_it_was_not_wanted() {
	watch_world
	need_root
	for try in 1 2 3 4 5 6 7 8 9 10; do # share_of() gives what the init got
		got=$(share_of --mem 128 "$FUNCTIONS/busy_init.so") || fail "$got"
		awk -v g="$got" 'BEGIN { exit !(g > 0.85) }' && break
		note "look $try: init got $got of a CPU"
		[ "$try" -lt 10 ] || fail "init got $got of a CPU"
	done
	got=$(share_of --mem 128 --no-init-boost --env FSBOX_TEST_MS=1000 "$FUNCTIONS/busy_init.so") || fail "$got"
	check_between "$got" 0.05 0.1 "share of an init without boost at 128 MB"
	check_world
}

test_the_share_holds_right_after_an_init_with_boost() {
	watch_world
	need_root
	# two calls: the init before the first had a whole CPU, the handler has its share at once
	cell_status 0 --mem 128 --timeout 30 "$FUNCTIONS/busy.so" --event 700 --event 700
	sed -n 1p "$T/out" >"$T/first"
	check_between "$(ask '.cpu_ns / .wall_ns' "$T/first")" 0.06 0.12 "share of the first call"
	check_world
}

run_tests "$@"
