#!/bin/sh
# Connections for real: the example that counts in a Redis, closed before the snapshot, opened anew in every clone.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/snapshot.sh
. "$(dirname "$0")/../lib/snapshot.sh"
# shellcheck source=tests/lib/redis.sh
. "$(dirname "$0")/../lib/redis.sh"

with_redis() {
	own_store
	redis_start "$T" || skip "there is no Redis: install redis-tools"
	trap redis_stop EXIT
}

count() { # fsbox run's arguments
	cell_status 0 --net host --env "REDIS_ADDRESS=$REDIS_ADDRESS" --timeout 10 "$@"
}

test_ten_clones_at_once_count_correctly() {
	with_redis
	count --snapshot=require "$EXAMPLES/redis-counter.so" --event '"visits"'
	check_eq "$(cat "$T/out")" '{"count":1}'
	for i in 1 2 3 4 5 6 7 8 9 10; do
		"$FSBOX" run --snapshot=require --net host --env "REDIS_ADDRESS=$REDIS_ADDRESS" --timeout 30 \
			"$EXAMPLES/redis-counter.so" --event '"visits"' --event '"visits"' >"$T/o.$i" 2>"$T/e.$i" &
		eval "pid_$i=$!"
	done
	for i in 1 2 3 4 5 6 7 8 9 10; do
		eval "wait \$pid_$i" || {
			note "$(cat "$T/e.$i")"
			fail "clone $i failed"
		}
		check_contains "$T/e.$i" RESTORE_START
		check_matches "$T/e.$i" 'clone [0-9a-f]{12} connects'
	done
	check_eq "$(cat "$T"/o.* | sort -u | wc -l)" 20
	check_eq "$(redis get visits)" 21
	# each clone had a connection of its own, and all of them are gone
	check_eq "$(redis client list type normal | grep -c 'cmd=incr')" 0
	redis_stop
	check_store
}

test_where_redis_is_gone_the_clone_says_so() {
	with_redis
	count --snapshot=require "$EXAMPLES/redis-counter.so"
	redis_stop
	cell --snapshot=require --net host --env "REDIS_ADDRESS=$REDIS_ADDRESS" "$EXAMPLES/redis-counter.so"
	check_eq "$status" 1
	check_ask .errorType Runtime.AfterRestoreError
	check_contains "$T/err" 'Connection refused'
	check_store
}

test_without_its_hooks_publish_refuses_and_says_why() {
	with_redis
	snapshot_status 1 create --net host --env "REDIS_ADDRESS=$REDIS_ADDRESS" "$FUNCTIONS/redis_no_hooks.so"
	check_contains "$T/err" 'descriptor'
	check_contains "$T/err" 'fsbox_before_snapshot()'
	check_matches "$T/err" 'socket|TCP|inet'
	count --snapshot "$FUNCTIONS/redis_no_hooks.so" --event '"other"'
	check_eq "$(cat "$T/out")" '{"count":1}'
	check_contains "$T/err" 'no snapshot is used'
	redis_stop
	check_store
}
run_tests "$@"
