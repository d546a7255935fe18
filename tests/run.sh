#!/bin/sh
# Sets up, builds and runs the tests of the project.
#
#   sh tests/run.sh                everything that `make check` means
#   sh tests/run.sh SUITE...       lint unit policy kernel fuzz fault escape conformance system guest
#   sh tests/run.sh --all          also everything in the guest on both kernels and under systemd, long fuzzing, clang-tidy,
#                                  cppcheck and a build in a bare Debian root
#   sh tests/run.sh system/run_answers unit/test_str   single programs
#   sh tests/run.sh guest-6.12/system/run_limits       one on another tier
#
# A tier is a machine that programs run on: this one, or a guest with pure cgroup v2 (tests/guest/run.sh): guest-6.1,
# guest-6.12, guest-systemd. `guest` is the subset of tests/guest/subset on the first of them; a tier's name is everything
# on it; TIER/PROGRAM and TIER/SUITE are parts.
#
# FSBOX_MUST_RUN=1 makes a skip a failure; FSBOX_NO_DEPS=1 leaves the packages alone; FSBOX_TEST_JOBS is the number of
# unprivileged programs run at once (system tests run one at a time). Logs: build/test-logs/.
#
# The last line is "N passed, N failed" or "N passed, N failed, N skipped". Exit 0 when something ran and nothing failed.
set -u
cd "$(dirname "$0")/.." || exit 1
SRC=$(pwd)
export SRC
LC_ALL=C
export LC_ALL

. tests/lib/time_limit.sh

# One program: its output goes to LOG, its counts to LOG.sum. Called as `sh tests/run.sh --one BUILD NAME LOG`.
run_one() {
	build=$1 name=$2 log=$3
	limit=$(time_limit "$name")
	FSBOX_BUILD=$SRC/$build
	FSBOX=$FSBOX_BUILD/fsbox
	FSBOX_SRC=$SRC
	export FSBOX FSBOX_BUILD FSBOX_SRC
	# An allocation that is refused is a case to be tested, not a reason to stop.
	ASAN_OPTIONS=${ASAN_OPTIONS-allocator_may_return_null=1:detect_leaks=1:strict_string_checks=1}
	UBSAN_OPTIONS=${UBSAN_OPTIONS-print_stacktrace=1}
	export ASAN_OPTIONS UBSAN_OPTIONS
	if [ -f "tests/$name.sh" ]; then
		set -- sh "tests/$name.sh"
	else
		set -- "$build/tests/$name"
	fi
	began=$(date +%s)
	timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null 9>&-
	status=$?
	awk -v name="$name" -v status="$status" -v limit="$limit" -v seconds="$(($(date +%s) - began))" -v sum="$log.sum" \
		-v must="${FSBOX_MUST_RUN-}" -f tests/lib/tap.awk "$log" >"$log.report"
}

if [ "${1-}" = --one ]; then
	shift
	run_one "$@"
	exit 0
fi

# ---- What to run ----
all=
suites=
for arg in "$@"; do
	case $arg in
	--all) all=1 ;;
	-*)
		echo "run.sh: no option '$arg'; see the head of tests/run.sh" >&2
		exit 2
		;;
	*) suites="$suites $arg" ;;
	esac
done
default_suites="lint unit policy kernel fuzz fault escape conformance system guest"
tiers="guest-6.1 guest-6.12 guest-systemd"
suites=${suites:-$default_suites${all:+ $tiers}}
[ -z "$all" ] || FSBOX_ALL=1
FSBOX_ALL=${FSBOX_ALL-}
export FSBOX_ALL

# ---- Set-up ----
if [ "${FSBOX_NO_DEPS-}" != 1 ]; then
	groups="build runtimes test clients guest criu"
	case " $suites " in
	*" guest-systemd"* | *" system "*) groups="$groups fresh engines" ;; # mmdebstrap; varlinkctl is of that root
	esac
	# shellcheck disable=SC2086 # words
	sh tools/deps.sh $groups ${all:+bench fresh} || {
		echo "0 passed, 1 failed"
		exit 1
	}
	# Where there is none to be had the tests of snapshots are skipped, and say so.
	sh tools/criu.sh || [ $? = 3 ] || {
		echo "0 passed, 1 failed"
		exit 1
	}
	# The same where npm's registry does not answer, unless nothing may be skipped.
	case " $suites " in
	*" system "* | *" guest"*)
		sh tools/clients.sh || [ "${FSBOX_MUST_RUN-}" != 1 ] || {
			echo "0 passed, 1 failed"
			exit 1
		}
		;;
	esac
fi
jobs=${FSBOX_TEST_JOBS:-$(nproc)}
logs=build/test-logs
work=build/test-logs/run.$$
for old in build/test-logs/run.*; do # of runs that were killed
	kill -0 "${old##*.}" 2>/dev/null || rm -rf "$old"
done
mkdir -p "$work" || exit 1
guest='' fuzz='' beside=''
finish() {
	for part in $guest $fuzz $beside; do
		kill "$part"
		wait "$part"
	done 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# Two runs in one tree build one after the other.
exec 9>build/.lock
flock 9

: >"$work/list" # lines: BUILD NAME
: >"$work/tiers" # lines: TIER WHAT, as tests/guest/run.sh takes it
: >"$work/sums" # lines: NAME PASSED FAILED SKIPPED

note() { # a result that is not a program's: NAME ok|FAIL MESSAGE
	case $2 in
	ok) echo "$1 1 0 0" >>"$work/sums" ;;
	*) echo "$1 0 1 0" >>"$work/sums" ;;
	esac
	printf '%-5s %s%s\n' "$2" "$1" "${3:+: $3}"
}

built=
build() { # VARIANT TARGET...: errors are shown, and what could be built is still tested
	variant=$1
	shift
	make -k -j"$jobs" DEV=1 VARIANT="$variant" "$@" >"$work/make.log" 2>&1 9>&- && {
		[ -n "${FSBOX_QUIET-}" ] || echo "built $(build_dir "$variant"): $*"
		return 0
	}
	grep -v '^  [A-Z]* ' "$work/make.log" | tail -n 60
	note "build/$*${variant:+ ($variant)}" FAIL "see the messages above"
	built="$built $variant!" # up-to-date checks are needed below
}
build_dir() { echo "build${1:+/$1}"; }

variant_of() { # the variant that a suite is built in
	case $1 in
	unit | policy | fuzz) echo asan ;;
	fault) echo fault ;;
	*) echo ;;
	esac
}

add() { # VARIANT NAME
	dir=$(build_dir "$1")
	if [ ! -f "tests/$2.sh" ]; then
		[ -x "$dir/tests/$2" ] || return 0 # its failure to build has been counted
		case $built in
		*" $1!"*) make -q DEV=1 VARIANT="$1" "$dir/tests/$2" >/dev/null 2>&1 9>&- || return 0 ;;
		esac
	fi
	echo "$dir $2" >>"$work/list"
}

programs_of() { # SUITE
	for f in tests/"$1"/*.c tests/"$1"/*.sh tests/"$1"/*/*.sh; do # a suite may have folders
		name=${f#tests/}
		case $name in
		*'*'* | lint/run.sh | fuzz/run.sh | fuzz/replay.c) continue ;;
		unit/test_* | fuzz/fuzz_*) ;;
		unit/* | fuzz/*) continue ;;
		esac
		echo "${name%.*}"
	done
}

suites_built=
build_suites() { # SUITE...: their programs, each once
	for suite in "$@"; do
		case " $suites_built " in
		*" $suite "*) ;;
		*)
			suites_built="$suites_built $suite"
			[ "$suite" != system ] || build asan build/asan/fsboxd
			case $suite in
			all | functions) build "" "$suite" ;;
			*) build "$(variant_of "$suite")" "programs-$suite" ;;
			esac
			;;
		esac
	done
}

for_tier() { # TIER[/WHAT]: builds what the guest needs for it
	case $1 in
	guest-systemd*) build_suites all functions ;;
	*/*)
		part=${1#*/}
		build_suites all functions "${part%%/*}"
		;;
	*) build_suites all functions unit policy kernel fault escape system ;;
	esac
}

for item in $suites; do
	case $item in
	guest)
		build_suites all functions unit kernel fault escape system
		echo "guest-6.1 subset" >>"$work/tiers"
		;;
	guest-*)
		tier=${item%%/*}
		case " $tiers " in
		*" $tier "*) ;;
		*)
			echo "run.sh: no tier '$tier'; there are: $tiers" >&2
			exit 2
			;;
		esac
		for_tier "$item"
		case $item in
		*/*) echo "$tier ${item#*/}" ;;
		*) echo "$tier all" ;;
		esac >>"$work/tiers"
		;;
	lint)
		printf 'build lint/tap\nbuild lint/selftest\n' >>"$work/list"
		;;
	*/*)
		name=${item#tests/}
		name=${name%.c}
		name=${name%.sh}
		[ "$name" != system/daemon_sanitized ] || build asan build/asan/fsboxd
		variant=$(variant_of "${name%%/*}")
		targets="$(build_dir "$variant")/tests/$name"
		[ ! -f "tests/$name.sh" ] || targets=
		case $name in
		system/*) targets="$targets all functions build/tools/gencli build/tools/genprotocol build/tests/shim/faults.so build/tests/shim/syscalls.so" ;;
		fault/* | escape/* | conformance/*) targets="$targets all functions" ;;
		unit/*) targets="$targets runtime functions" ;;
		esac
		# shellcheck disable=SC2086 # words
		[ -z "$targets" ] || build "$variant" $targets
		add "$variant" "$name"
		;;
	unit | policy | kernel | fuzz | fault | escape | conformance | system)
		programs=$(programs_of "$item")
		[ -n "$programs" ] || continue
		variant=$(variant_of "$item")
		build_suites "$item"
		for name in $programs; do
			add "$variant" "$name"
		done
		;;
	*)
		echo "run.sh: no suite '$item'; there are: $default_suites" >&2
		exit 2
		;;
	esac
done
flock -u 9
exec 9>&-

# ---- A kernel that cannot install filters ----
# There every cell hangs, and so does each test that installs a filter of its own (docs/decisions/012). The guest's kernel
# takes them over; what only this machine's hybrid cgroups could show is not run, and that is said.
mkdir -p "$work/logs"
needs_filters='^build(/[a-z]*)? (kernel|fault|escape|conformance|system|unit/test_runtime|policy/on_this_kernel)(/|$)'
if grep -qE "$needs_filters" "$work/list" && build "" build/tools/canfilter &&
	! build/tools/canfilter >"$work/canfilter" 2>&1; then
	printf '\n%s. Cells cannot run on it: what needs them runs in the guest.\n' "$(cat "$work/canfilter")"
	grep -E "$needs_filters" "$work/list" | sed 's/^[^ ]* /guest-6.1 /' >>"$work/tiers"
	grep -vE "$needs_filters" "$work/list" >"$work/rest"
	mv "$work/rest" "$work/list"
fi

# ---- Run ----
grep -E ' (lint|unit|policy|fuzz)/' "$work/list" >"$work/free"
grep -Ev ' (lint|unit|policy|fuzz)/' "$work/list" >"$work/serial"

# With a guest to come, those that say so in their head wait for it, and run beside it: it leaves a processor idle, and they are
# long and patient.
: >"$work/beside"
if [ -s "$work/tiers" ]; then
	while read -r dir name; do
		to=alone
		[ ! -f "tests/$name.sh" ] || ! sed -n 1,8p "tests/$name.sh" | grep -q 'beside-guest' || to=beside
		echo "$dir $name" >>"$work/$to"
	done <"$work/serial"
	touch "$work/alone"
	mv "$work/alone" "$work/serial"
fi

log_of() { echo "$work/logs/$(echo "$1" | tr / .)"; }

report() { # NAME
	log=$(log_of "$1")
	[ -s "$log.sum" ] || echo "$1 0 1 0" >"$log.sum"
	cat "$log.sum" >>"$work/sums"
	cat "$log.report"
	cp "$log" "$logs/${log##*/}.log"
}

arguments() { # LIST: of --one for each
	while read -r dir name; do
		printf '%s\n%s\n%s\n' "$dir" "$name" "$(log_of "$name")"
	done <"$1"
}

arguments "$work/free" | xargs -r -P "$jobs" -n 3 sh tests/run.sh --one
while read -r dir name; do
	report "$name"
done <"$work/free"

# They look at the whole machine (groups, mounts, processes): one at a time, whatever else runs here.
lock=/run/lock/fsbox-tests.lock
{ [ -e "$lock" ] && [ -w "$lock" ]; } || { [ ! -e "$lock" ] && [ -w "${lock%/*}" ]; } ||
	lock=${TMPDIR:-/tmp}/fsbox-tests.$(id -u).lock
if [ -s "$work/serial" ]; then
	exec 9>"$lock"
	flock 9
	while read -r dir name; do
		run_one "$dir" "$name" "$(log_of "$name")"
		report "$name"
	done <"$work/serial"
	exec 9>&-
fi

# Fuzzing needs nothing of the machine but a processor, and of those a guest has use for little more than one: beside each other.
case " $suites " in
*" fuzz "*)
	if [ -n "$(ls tests/fuzz/fuzz_*.c 2>/dev/null)" ]; then
		# One seed: the short run says the same of the same tree. The long one, and `make fuzz`, look elsewhere each time.
		FSBOX_FUZZ_SEED=${FSBOX_FUZZ_SEED-$([ -n "$all" ] || echo 1)} FSBOX_FUZZ_JOBS=$([ ! -s "$work/tiers" ] || echo 1) \
			setpriv --pdeathsig TERM sh tests/fuzz/run.sh "${FSBOX_FUZZ_SECONDS:-$([ -n "$all" ] && echo 300 || echo 10)}" \
			>"$work/fuzz.log" 2>&1 &
		fuzz=$!
	fi
	;;
esac

if [ -s "$work/beside" ]; then
	arguments "$work/beside" >"$work/beside.arguments"
	(
		flock 9
		[ -z "$fuzz" ] || tail --pid="$fuzz" -f /dev/null
		exec xargs -r -P 1 -n 3 setpriv --pdeathsig TERM sh tests/run.sh --one
	) <"$work/beside.arguments" 9>"$lock" &
	beside=$!
fi

# One guest at a time, each with its own limit: twenty minutes for the subset, two hours for everything.
for tier in $tiers; do
	sed -n "s/^$tier //p" "$work/tiers" | sort -u >"$work/what"
	[ -s "$work/what" ] || continue
	limit=7200
	[ "$(cat "$work/what")" != subset ] || limit=1200
	# In the background, where a signal to us does not have to wait for its end, and killed with us whatever ends us.
	# shellcheck disable=SC2046 # words
	setpriv --pdeathsig TERM sh tests/guest/run.sh --limit "${FSBOX_GUEST_SECONDS:-$limit}" --sums "$work/guest.sums" \
		"${tier#guest-}" $(cat "$work/what") &
	guest=$!
	wait "$guest"
	guest=
	[ -s "$work/guest.sums" ] || echo "$tier/run 0 1 0" >"$work/guest.sums"
	cat "$work/guest.sums" >>"$work/sums"
	rm -f "$work/guest.sums"
done

if [ -n "$beside" ]; then
	wait "$beside"
	beside=
	while read -r dir name; do
		report "$name"
	done <"$work/beside"
fi
if [ -n "$fuzz" ]; then
	if wait "$fuzz"; then
		note "fuzz/$(sed -n '$p' "$work/fuzz.log")" ok
	else
		tail -n 60 "$work/fuzz.log"
		note fuzz/run FAIL "see the messages above"
	fi
	fuzz=
fi
if [ -n "$all" ]; then
	for step in "lint/run.sh --all" fresh/run.sh; do
		[ -f "tests/${step%% *}" ] || continue
		# shellcheck disable=SC2086 # a script and its option
		if sh tests/$step >"$work/step.log" 2>&1; then
			note "$step" ok
		else
			tail -n 80 "$work/step.log"
			note "$step" FAIL "see the messages above"
		fi
	done
fi

# ---- Sum ----
echo
awk '
	{ split($1, part, "/"); s = part[1]; if (!(s in seen)) { seen[s] = 1; order[++n] = s } }
	{ p[s] += $(NF - 2); f[s] += $(NF - 1); k[s] += $NF; P += $(NF - 2); F += $(NF - 1); K += $NF }
	END {
		for (i = 1; i <= n; i++)
			printf "%-13s %5d passed %5d failed %5d skipped\n", order[i], p[order[i]], f[order[i]], k[order[i]]
		printf "%d passed, %d failed%s\n", P, F, K ? ", " K " skipped" : ""
		exit F > 0 || P == 0
	}' "$work/sums"
