#!/bin/sh
# The examples of docs/spec.md are true: `json` blocks run, `json refused` blocks are refused with the text below them.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"

# Every block becomes a file of its own: N.good.json, or N.bad.json with N.text.
take_examples() {
	cp "$FUNCTIONS/echo.so" "$T/handler.so"
	chmod 755 "$TAP_DIR" "$T"
	awk -v dir="$T" '
		/^```json refused$/ { n++; out = dir "/" n ".bad.json"; next }
		/^```json$/ { n++; out = dir "/" n ".good.json"; next }
		/^```text$/ { out = dir "/" n ".text"; next }
		/^```/ { out = ""; next }
		out != "" { print >out }' "$FSBOX_SRC/docs/spec.md"
	cd "$T"
}

test_the_examples_of_spec_md_run() {
	take_examples
	count=0
	for f in *.good.json; do
		run "$FSBOX" run --spec "$f"
		note "$f"
		check_eq "$status" 0
		count=$((count + 1))
	done
	check [ "$count" -ge 3 ]
}

test_the_refused_examples_of_spec_md_are_refused_in_those_words() {
	take_examples
	count=0
	for f in *.bad.json; do
		run "$FSBOX" run --spec "$f"
		note "$f"
		check_eq "$status" 2
		check_contains "$T/err" "$(cat "${f%.bad.json}.text")"
		count=$((count + 1))
	done
	check [ "$count" -ge 3 ]
}

test_manual_spec_and_completions_agree_with_the_option_tables() {
	[ -x "$FSBOX_BUILD/tools/gencli" ] || skip "build/tools/gencli is not built"
	cd "$FSBOX_SRC"
	check "$FSBOX_BUILD/tools/gencli" --check docs/man/fsbox.1 docs/spec.md contrib/completions/fsbox.bash \
		contrib/completions/_fsbox
}

run_tests
