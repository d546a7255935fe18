#!/bin/sh
# Shows what fsbox does: installs what is missing, builds, runs the example functions. Each step says what it shows; the
# answers are compared, and a wrong one ends the demo with status 1.
#
#   sh contrib/demo.sh             FSBOX_NO_DEPS=1 leaves the packages alone
set -u
cd "$(dirname "$0")/.." || exit 1
if [ "${FSBOX_NO_DEPS-}" != 1 ]; then
	sh tools/deps.sh build runtimes criu demo || exit 1
	# Where there is none to be had the steps with snapshots are left out.
	[ "$(id -u)" != 0 ] || sh tools/criu.sh || [ $? = 3 ] || exit 1
fi
make -s -j"$(nproc)" || exit 1
# shellcheck source=tests/lib/redis.sh
. tests/lib/redis.sh

out=$(mktemp -d "${TMPDIR:-/tmp}/fsbox-demo.XXXXXX") || exit 1
XDG_STATE_HOME=$out # the demo's snapshots go with it
export XDG_STATE_HOME
finish() {
	redis_stop
	rm -rf "$out"
}
redis_pid=
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
printf abc >"$out/abc"
ex=build/examples
ran=0 wrong=0

# An ordinary user gets limits only where a cgroup was delegated; without them has to be asked for.
limits=
if [ "$(id -u)" != 0 ] && ! build/fsbox run $ex/hello.so >/dev/null 2>"$out/err"; then
	sed 's/^/    /' "$out/err"
	echo "    (the demo goes on without limits: --no-limits)"
	limits=--no-limits
fi

show() { # STATUS TEXT EXPLANATION ARG...: TEXT must stand in the answer, "" means any
	want_status=$1 want=$2
	printf '\n== %s\n' "$3"
	shift 3
	printf '$ fsbox run'
	for arg in "$@"; do
		case $arg in
		*[!A-Za-z0-9_./=,:@-]*) printf " '%s'" "$arg" ;;
		*) printf ' %s' "$arg" ;;
		esac
	done
	echo
	# shellcheck disable=SC2086 # none or one word
	build/fsbox run $limits "$@" >"$out/answer" 2>"$out/log" </dev/null
	status=$?
	head -n 8 "$out/answer" | head -c 600 | tr -d '\000' | sed 's/^/answer  /'
	[ ! -s "$out/answer" ] || echo
	grep -v '^$' "$out/log" | head -n 12 | sed 's/^/log     /'
	ran=$((ran + 1))
	if [ $status != "$want_status" ]; then
		echo "WRONG: exit status $status instead of $want_status"
		wrong=$((wrong + 1))
	elif [ -n "$want" ] && ! grep -qF -e "$want" "$out/answer"; then
		echo "WRONG: the answer does not contain: $want"
		wrong=$((wrong + 1))
	fi
}
have() { [ -f "$ex/$1.so" ]; }

have hello && show 0 ada "A function answers an event. The last line of its log is Lambda's REPORT." \
	--mem 512 $ex/hello.so --event '{"name":"ada"}'
have hello && show 0 grace "Several events go to the same warm cell: only the first REPORT has an Init Duration." \
	$ex/hello.so --event '{"name":"ada"}' --event '{"name":"grace"}'
have json-transform && show 0 '{"customer":"ada","total":10.0' "A library of the host, here jansson, works inside: /usr is there, read-only." \
	$ex/json-transform.so --event '{"orders":[{"customer":"ada","price":2.5,"count":4},{"customer":"bob","price":3,"count":1}]}'
have hash && show 0 '"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"' \
	"/tmp is the cell's own, in memory, with a size." --tmp 16 $ex/hash.so --event @"$out/abc"
have primes && show 0 '"count":2433654' "Work for the CPU: 128 MB buy 7 % of one, so this takes a while." \
	--mem 128 --timeout 60 $ex/primes.so --event 40000000
have primes && show 0 '"count":2433654' "The same with 1,769 MB, which buy a whole CPU: compare the Durations." \
	--mem 1769 --timeout 60 $ex/primes.so --event 40000000
have streaming && show 0 '30,0.500000' "An answer in parts." \
	$ex/streaming.so --event 40
have hello-cpp && show 0 'b 2' "The same contract in C++." \
	$ex/hello-cpp.so --event 'a b b'
[ ! -x /usr/bin/python3 ] || show 0 "Hello, ada" "Python: a file, with Lambda's handler, context and logging." \
	contrib/examples/hello.py --event '{"name":"ada"}'
[ ! -x /usr/bin/node ] || show 1 RangeError "Node.js: the same, and an error as Lambda tells it." \
	--mem 256 contrib/examples/hello.mjs --event '{}'
command -v curl >/dev/null && show 0 "Hello from bash" "Anything that speaks Lambda's Runtime API: here bash and curl." \
	--timeout 10 contrib/examples/bash --event '{"any":"json"}'
have hello && show 0 ada "The strict policy: after its init a function may compute and answer, nothing else." \
	--policy strict $ex/hello.so --event '{"name":"ada"}'
if [ "$(id -u)" = 0 ] && [ -d build/criu ]; then
	have heavy-init && show 0 '[3,7,11,13]' "An init that takes its time: every cold start pays for it." \
		--mem 512 $ex/heavy-init.so --event 3003
	have heavy-init && show 0 '[3,7,11,13]' "The same with a snapshot: this once it is made, after init …" \
		--mem 512 --snapshot $ex/heavy-init.so --event 3003
	have heavy-init && show 0 '[3,7,11,13]' "… and from then on restored: compare Restore Duration with Init Duration." \
		--mem 512 --snapshot $ex/heavy-init.so --event 3003
	[ ! -x /usr/bin/python3 ] || show 0 "Hello, ada" "Python from a snapshot: made this once …" \
		--snapshot contrib/examples/hello.py --event '{"name":"ada"}'
	[ ! -x /usr/bin/python3 ] || show 0 "Hello, grace" "… and restored, with nothing to import." \
		--snapshot contrib/examples/hello.py --event '{"name":"grace"}'
	if have redis-counter && redis_start "$out"; then
		show 0 '"count":1' "A connection does not survive a snapshot: closed in a hook before, opened in a hook after." \
			--net host --env "REDIS_ADDRESS=$REDIS_ADDRESS" --snapshot $ex/redis-counter.so --event '"visits"'
		show 0 '"count":2' "Each clone has its own." \
			--net host --env "REDIS_ADDRESS=$REDIS_ADDRESS" --snapshot $ex/redis-counter.so --event '"visits"'
		redis_stop
	fi
fi
have hello && show 0 '"calls"' "--json prints one document with the numbers instead." \
	--json $ex/hello.so --event '{"name":"ada"}'
show 2 "" "What cannot work is refused in a sentence that names the thing." \
	--mem 0 $ex/hello.so

echo
if [ $ran -lt 3 ]; then
	echo "the demo found only $ran functions to run in $ex"
	exit 1
fi
echo "$ran steps, $wrong wrong answers"
[ $wrong = 0 ]
