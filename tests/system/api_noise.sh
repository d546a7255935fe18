#!/bin/sh
# The Runtime API's server, built with AddressSanitizer, under clients that send nonsense, vanish and crowd it, while a
# bootstrap serves calls (tests/lib/api_noise.py).
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"

test_calls_are_served_through_any_noise() {
	[ "$(id -u)" = 0 ] || skip 'needs root, for a network namespace'
	[ -x /usr/bin/python3 ] || skip 'there is no /usr/bin/python3'
	cc -std=gnu17 -D_GNU_SOURCE -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -I"$FSBOX_SRC/sandbox" \
		"$FSBOX_SRC"/sandbox/runtime/api/*.c "$FSBOX_SRC/sandbox/runtime/channel.c" -o "$T/api" || fail 'it does not compile'
	cc -O2 -static -include "$FSBOX_SRC/tests/functions/plain_bootstrap.h" -x c /dev/null -o "$T/bootstrap" ||
		fail 'the bootstrap does not compile'
	for seed in 1 2 3; do
		run unshare --net /usr/bin/python3 "$FSBOX_SRC/tests/lib/api_noise.py" "$T/api" "$T/bootstrap" "$seed" 600
		[ "$status" = 0 ] || {
			show
			fail "seed $seed: status $status"
		}
	done
}

run_tests "$@"
