# Sourced by tests/run.sh and tests/guest/run.sh, in the root of the sources.
# shellcheck shell=sh
time_limit() { # of a program, in seconds: "time-limit: N" in its source, or by its suite
	limit=
	for source in "tests/$1.c" "tests/$1.sh"; do
		[ ! -f "$source" ] || limit=$(sed -n 's/.*time-limit: \([0-9][0-9]*\).*/\1/p' "$source" | head -n 1)
		[ -z "$limit" ] || break
	done
	case $1 in
	system/* | fault/* | escape/* | conformance/*) echo "${limit:-300}" ;;
	*) echo "${limit:-120}" ;;
	esac
}
