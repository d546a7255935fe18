#!/bin/sh
# The quick checks of tests/lint/run.sh as tests: one each. time-limit: 300
cd "$(dirname "$0")/../.." || exit 1
# shellcheck disable=SC2046 # words
set -- layers banned names sizes headers marks scripts format makefile manual spelling
echo "1..$#"
n=0
for check in "$@"; do
	n=$((n + 1))
	echo "# begin $n lint_$check"
	said=$(sh tests/lint/run.sh "$check")
	case $? in
	0) echo "ok $n - lint_$check" ;;
	77) # another version of a tool is the machine's
		said=$(printf '%s' "$said" | head -n 1)
		case $said in *"only version"*) said="host: $said" ;; esac
		echo "ok $n - lint_$check # SKIP $said"
		;;
	*)
		printf '%s\n' "$said" | sed 's/^/# /'
		echo "not ok $n - lint_$check"
		;;
	esac
done
