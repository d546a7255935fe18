#!/bin/sh
# Fuzzes every target with libFuzzer for SECONDS each (default 10), FSBOX_FUZZ_JOBS at a time (as many as there are processors):
#
#   sh tests/fuzz/run.sh [SECONDS] [NAME...]
#
# The committed corpus is read; new inputs go to build/fuzz/corpus/NAME, from where good ones are copied by hand. An input
# that fails is in build/fuzz/artifacts/; with its cause repaired it becomes a file of the corpus. FSBOX_FUZZ_SEED makes the
# random numbers of two runs the same; without it each run looks elsewhere. The last line says how many targets ran.
set -u
cd "$(dirname "$0")/../.." || exit 1
seconds=${1:-10}
[ $# -eq 0 ] || shift
mkdir -p build
command -v clang >/dev/null 2>&1 || {
	echo "clang is missing: sh tools/deps.sh test"
	exit 1
}
make -k -j"${FSBOX_FUZZ_JOBS:-$(nproc)}" DEV=1 VARIANT=fuzz programs-fuzz >build/fuzz-make.log 2>&1 || {
	cat build/fuzz-make.log
	exit 1
}
[ $# -gt 0 ] || for f in tests/fuzz/fuzz_*.c; do
	name=${f##*/fuzz_}
	set -- "$@" "${name%.c}"
done
mkdir -p build/fuzz/artifacts build/fuzz/logs
# shellcheck disable=SC2016 # for the inner shell
printf '%s\n' "$@" | xargs -r -P "${FSBOX_FUZZ_JOBS:-$(nproc)}" -n 1 sh -c '
	seconds=$1 name=$2
	mkdir -p "build/fuzz/corpus/$name"
	set --
	[ ! -f "tests/fuzz/$name.dict" ] || set -- "-dict=tests/fuzz/$name.dict"
	[ ! -d "tests/fuzz/corpus/$name" ] || set -- "$@" "tests/fuzz/corpus/$name"
	"build/fuzz/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		"-seed=${FSBOX_FUZZ_SEED:-0}" \
		-artifact_prefix="build/fuzz/artifacts/$name-" "build/fuzz/corpus/$name" "$@" >"build/fuzz/logs/$name" 2>&1 || {
		echo "FAIL fuzz_$name"
		tail -n 40 "build/fuzz/logs/$name"
		exit 1
	}
	echo "ok   fuzz_$name: $(sed -n "s/^stat::number_of_executed_units: *//p" "build/fuzz/logs/$name") runs"' sh "$seconds"
status=$?
echo "$# targets, $seconds s each"
exit $status
