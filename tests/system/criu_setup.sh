#!/bin/sh
# tools/criu.sh: what it takes and what it refuses, that its result runs by itself, and that nothing half is ever left.
# time-limit: 240
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"

SCRIPT=$FSBOX_SRC/tools/criu.sh
READY=$FSBOX_SRC/build/criu
unset FSBOX_CRIU_REFRESH FSBOX_DEBIAN_KEYRING
FSBOX_DEBIAN_MIRROR=http://127.0.0.1:9/debian # nobody answers there
export FSBOX_DEBIAN_MIRROR

# The test's own PATH comes first, and apt gives up soon.
prepare() {
	mkdir "$T/bin" "$T/to"
	PATH=$T/bin:$PATH
	cat >"$T/apt.conf" <<END
Acquire::Retries "0"; Acquire::http::Timeout "2"; Acquire::http::Proxy::127.0.0.1 "DIRECT";
END
	APT_CONFIG=$T/apt.conf
	export PATH APT_CONFIG
}

criu_sh() { timeout 60 sh "$SCRIPT" --prefix "$T/to/criu" "$@"; }

need_bare_system() {
	for bare in /usr/sbin/criu /usr/local/sbin/criu; do
		[ ! -e "$bare" ] || skip_host "the system has a criu of its own"
	done
	[ -z "$(command -v criu)" ] || skip_host "the system has a criu of its own"
}

need_ready() { # the one download, where there is none yet
	[ -f "$READY/source" ] && return
	status=0
	env -u FSBOX_DEBIAN_MIRROR timeout 180 sh "$SCRIPT" >"$T/out" 2>"$T/err" || status=$?
	[ "$status" != 3 ] || skip_host "$(tail -n 1 "$T/err")"
	check_eq "$status" 0
}

by_its_loader() { # DIR ARGUMENT…
	own=$1
	shift
	for ld in "$own"/lib/ld-linux*.so.*; do
		"$ld" --inhibit-cache --library-path "$own/lib" "$@" || return
	done
}

nothing_left() { # in the folder around; what is there may be named
	left=$(cd "$T/to" && find . -mindepth 1 -maxdepth 1 "$@")
	[ -z "$left" ] || fail "left: $left"
}

whole() {
	[ "$(by_its_loader "$T/to/criu" "$T/to/criu/bin/criu" --version | head -n 1)" = "Version: $(cat "$T/to/criu/version")" ] &&
		[ -d "$T/to/criu/plugins" ] && [ -s "$T/to/criu/source" ]
}

fake() { # VERSION STATUS-OF-CHECK: a script
	cat >"$T/bin/criu" <<END
#!/bin/sh
case \$1 in
--version) echo "$1" ;;
*) echo "Error (fake): the kernel lacks it" >&2; exit $2 ;;
esac
END
	chmod 755 "$T/bin/criu"
}

fake_program() { # the same, as a program that can be copied
	cat >"$T/fake.c" <<'END'
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--version"))
		puts("Version: 4.3\nGitID: fake");
	return argc < 2;
}
END
	"${CC:-cc}" -o "$T/bin/criu" "$T/fake.c"
}

silent_mirror() { # takes connections and says nothing: FSBOX_DEBIAN_MIRROR, $mirror_pid
	timeout 60 python3 -c '
import socket, sys
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(50)
print(s.getsockname()[1], flush=True)
held = []
while True: held.append(s.accept())' >"$T/port" &
	mirror_pid=$!
	wait_until [ -s "$T/port" ]
	FSBOX_DEBIAN_MIRROR=http://127.0.0.1:$(cat "$T/port")/debian
}

wait_until() { # COMMAND…: true within 10 s
	for _ in $(seq 200); do
		! "$@" || return 0
		sleep 0.05
	done
	fail "not within 10 s: $*"
}

test_the_result_starts_by_its_own_loader_with_its_own_libraries() {
	need_ready
	by_its_loader "$READY" "$READY/bin/criu" --version >"$T/version"
	check_contains "$T/version" "Version: $(cat "$READY/version")"
	printf '4.2\n%s\n' "$(cat "$READY/version")" | sort -VC || fail "is $(cat "$READY/version")"
	check_matches "$READY/source" '^(system /.*|debian [a-z-]+ criu [0-9].*)$'
	by_its_loader "$READY" --list "$READY/bin/criu" >"$T/list"
	check_contains "$T/list" "libc.so.6 => $READY/lib/libc.so.6"
	awk '$2 == "=>" { print $3 }' "$T/list" | grep -v "^$READY/lib/" >"$T/foreign" || :
	check [ ! -s "$T/foreign" ]
	# flat and plain, for everybody: cells see it through a read-only mount
	check_eq "$(find "$READY" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' ')" "bin lib plugins source version "
	check_eq "$(find "$READY/lib" "$READY/plugins" -mindepth 1 ! -type f)" ""
	check_eq "$(find "$READY/plugins" -mindepth 1)" ""
	check_eq "$(find "$READY/bin" "$READY/lib" ! -perm 755)" ""
}

test_criu_check_passes_on_this_kernel() {
	need_ready
	[ "$(id -u)" = 0 ] || skip "needs root"
	# on a /run of its own, where it keeps what it learns of the kernel
	check_status 0 unshare --mount sh -c 'mount -t tmpfs none /run && exec "$0"/lib/ld-linux*.so.* "$@"' "$READY" \
		--inhibit-cache --library-path "$READY/lib" "$READY/bin/criu" check
	check_contains "$T/out" "Looks good"
}

test_what_is_good_already_is_left_alone_quickly() {
	need_ready
	prepare
	cp -R "$READY" "$T/to/criu"
	echo "debian forky criu 4.2" >"$T/to/criu/source"
	find "$T/to" -printf '%p %i %T@\n' >"$T/before"
	best=1000000000
	for _ in 1 2 3 4 5; do
		start=$(date +%s%N)
		check_status 0 criu_sh
		took=$(($(date +%s%N) - start))
		[ "$took" -ge "$best" ] || best=$took
	done
	[ "$best" -lt $((100000000 * ${FSBOX_SLOWER:-1})) ] || fail "takes $((best / 1000000)) ms"
	check_eq "$(wc -l <"$T/err")" 1
	check_contains "$T/err" "already (debian forky criu 4.2)"
	find "$T/to" -printf '%p %i %T@\n' | cmp - "$T/before" || fail "changed"
}

test_what_is_damaged_or_to_be_made_anew_is_kept_when_there_is_nothing_better() {
	need_bare_system
	need_ready
	prepare
	cp -R "$READY" "$T/to/criu"
	check_status 3 criu_sh --force
	check_status 3 env FSBOX_CRIU_REFRESH=1 timeout 60 sh "$SCRIPT" --prefix "$T/to/criu"
	check whole
	nothing_left ! -name criu
	: >"$T/to/criu/lib/libc.so.6"
	check_status 3 criu_sh
	check [ -e "$T/to/criu/bin/criu" ]
	nothing_left ! -name criu
}

refuses() { # TEXT: nothing is taken, the sentence says why
	check_status 3 criu_sh
	check_eq "$(wc -l <"$T/err")" 1
	check_contains "$T/err" "no CRIU for snapshots: "
	check_contains "$T/err" "$1"
	nothing_left
}
test_a_criu_that_is_old_fails_its_check_or_is_none_is_not_taken() {
	need_bare_system
	prepare
	refuses "the system has no criu"
	fake "Version: 3.17.1" 0
	refuses "$T/bin/criu is 3.17.1, older than 4.2"
	fake "Version: 4.1.99" 0
	refuses "older than 4.2"
	fake "Version: 4.10" 0
	refuses "$T/bin/criu is no dynamic ELF program"
	fake "Version: ; rm -rf /" 0
	refuses "$T/bin/criu is no CRIU"
	fake "criu, what else" 0
	refuses "$T/bin/criu is no CRIU"
	head -c 5000 /dev/urandom >"$T/bin/criu"
	refuses "$T/bin/criu is no CRIU"
	[ "$(id -u)" = 0 ] || return 0
	fake "Version: 4.2.1" 1
	refuses "criu check fails (Error (fake): the kernel lacks it)"
}

test_the_systems_own_is_copied_with_its_libraries() {
	need_bare_system
	prepare
	fake_program
	check_status 0 criu_sh
	check_eq "$(wc -l <"$T/err")" 1
	check_contains "$T/err" "now holds CRIU 4.3 (system $T/bin/criu)"
	check whole
	check cmp "$T/bin/criu" "$T/to/criu/bin/criu"
	check_eq "$(cat "$T/to/criu/source")" "system $T/bin/criu"
	check [ -f "$T/to/criu/lib/libc.so.6" ]
	nothing_left ! -name criu
	check_status 0 criu_sh
	check_contains "$T/err" already
	# another build of it is another program
	printf x >>"$T/bin/criu"
	check_status 0 criu_sh
	check_contains "$T/err" "now holds"
	check cmp "$T/bin/criu" "$T/to/criu/bin/criu"
}

test_a_mirror_that_does_not_answer_or_lacks_signatures_is_a_sentence() {
	need_bare_system
	command -v apt-get >/dev/null 2>&1 || skip_host "no apt here"
	prepare
	refuses "Connection refused"
	silent_mirror
	refuses "Debian's mirror: "
	kill "$mirror_pid"
	# a mirror without the suites, and one whose suite nobody signed
	mkdir "$T/mirror"
	FSBOX_DEBIAN_MIRROR=file:$T/mirror
	refuses "does not have a Release file"
	mkdir -p "$T/mirror/dists/forky"
	printf 'Suite: forky\nCodename: forky\nComponents: main\n' >"$T/mirror/dists/forky/Release"
	refuses "is not signed"
}

leftovers() { # a run was killed: nothing half where the result belongs
	[ ! -e "$T/to/criu" ] || whole || fail "half: $(find "$T/to/criu")"
}
test_a_killed_run_leaves_nothing_half_and_the_next_cleans_up() {
	need_bare_system
	command -v apt-get >/dev/null 2>&1 || skip_host "no apt here"
	prepare
	echo 'Acquire::http::Timeout "50";' >>"$T/apt.conf"
	silent_mirror
	for signal in TERM KILL; do
		setsid sh "$SCRIPT" --prefix "$T/to/criu" >"$T/out" 2>"$T/err" </dev/null &
		pid=$!
		wait_until [ -e "$T/to/.criu.work/apt/log" ]
		# meanwhile another one waits
		! flock -n "$T/to" true || fail "no lock is held"
		kill "-$signal" "-$pid"
		wait "$pid" 2>/dev/null || :
		leftovers
		[ "$signal" = KILL ] || nothing_left
	done
	kill "$mirror_pid"
	fake_program
	check_status 0 criu_sh
	check whole
	nothing_left ! -name criu
}

test_killed_at_any_moment_the_directory_is_whole_or_absent() {
	need_bare_system
	prepare
	fake_program
	for delay in 0.01 0.015 0.02 0.025 0.03 0.035 0.04 0.05 0.06 0.07; do
		setsid sh "$SCRIPT" --force --prefix "$T/to/criu" >"$T/out" 2>"$T/err" </dev/null &
		pid=$!
		sleep "$delay"
		kill -KILL "-$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
		leftovers
	done
	# between its two last steps
	check_status 0 criu_sh
	mkdir "$T/to/.criu.work"
	mv "$T/to/criu" "$T/to/.criu.work/old"
	check_status 0 criu_sh
	check_contains "$T/err" already
	check whole
	check_status 0 criu_sh --force
	nothing_left ! -name criu
}

test_two_runs_at_once_make_one_result() {
	need_bare_system
	prepare
	fake_program
	pids=
	for n in 1 2 3 4; do
		timeout 60 sh "$SCRIPT" --prefix "$T/to/criu" >"$T/out.$n" 2>"$T/err.$n" &
		pids="$pids $!"
	done
	for pid in $pids; do
		wait "$pid" || fail "one failed: $(cat "$T"/err.?)"
	done
	check whole
	nothing_left ! -name criu
	check_eq "$(cat "$T"/err.? | grep -c 'now holds')" 1
	check_eq "$(cat "$T"/err.? | grep -c 'already')" 3
}

test_a_directory_of_somebody_else_is_not_replaced() {
	prepare
	mkdir -p "$T/to/criu/bin"
	check_status 2 criu_sh
	check_contains "$T/err" "not of this script"
	check_status 2 sh "$SCRIPT" --prefix
	check_status 2 sh "$SCRIPT" --prefix ''
	check_status 2 sh "$SCRIPT" elsewhere
	check [ -d "$T/to/criu/bin" ]
}
run_tests
