#!/bin/sh
# Python functions in cells: what the runtime's own tests cannot see, from the command line to the log, in every mode, and
# through snapshots. The runtime without a cell: tests/unit/test_runtime_python.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/snapshot.sh
. "$(dirname "$0")/../lib/snapshot.sh"
LONG=$((20 * ${FSBOX_SLOWER:-1})) # seconds for what is not about time

[ -x /usr/bin/python3 ] || {
	echo '1..0 # SKIP there is no /usr/bin/python3'
	exit 0
}

# The program from stdin as $T/app.py, or NAME below $T.
app() { # [NAME]
	mkdir -p "$T/$(dirname "${1:-app.py}")"
	cat >"$T/${1:-app.py}"
	chmod 755 "$TAP_DIR" "$T" "$T/$(dirname "${1:-app.py}")"
	chmod 644 "$T/${1:-app.py}"
}

check_cold_and_warm() {
	app <<-'END'
		import os
		n = 0
		def handler(event, context):
		    global n
		    n += 1
		    return {"n": n, "event": event, "uid": os.getuid(), "name": context.function_name}
	END
	cell_status 0 "$T/app.py" --event '{"a":[1,2]}' --event '"x"' --event null
	check_eq "$(sed -n 1p "$T/out")" '{"n": 1, "event": {"a": [1, 2]}, "uid": 993, "name": "app"}'
	check_eq "$(sed -n 2p "$T/out")" '{"n": 2, "event": "x", "uid": 993, "name": "app"}'
	check_eq "$(sed -n 3p "$T/out")" '{"n": 3, "event": null, "uid": 993, "name": "app"}'
	check_eq "$(grep -c 'Init Duration' "$T/err")" 1
}
test_a_file_is_a_function_and_its_globals_live_on() {
	watch_world
	each_mode check_cold_and_warm
	check_world
}

test_another_function_of_the_file_by_handler() {
	need_root
	app <<-'END'
		def main(event, context):
		    return "main"
	END
	cell_status 0 --handler app.main "$T/app.py"
	check_eq "$(cat "$T/out")" '"main"'
	cell_status 1 "$T/app.py"
	check_ask .errorType Runtime.HandlerNotFound
	check_contains "$T/out" handler
}

test_an_exception_is_lambdas_document_and_the_next_call_goes_on() {
	need_root
	watch_world
	app <<-'END'
		class Odd(Exception):
		    pass
		def handler(event, context):
		    if event.get("bad"):
		        raise Odd("no\nsuch luck")
		    return "fine"
	END
	cell_status 1 "$T/app.py" --event '{"bad":1}' --event '{}'
	sed -n 1p "$T/out" >"$T/first"
	cp "$T/first" "$T/out.json"
	check_eq "$(jq -c '[.errorType, .errorMessage]' "$T/first")" '["Odd","no\nsuch luck"]'
	check_eq "$(jq -r '.stackTrace | join("")' "$T/first" | grep -c '/var/task/app.py')" 1
	check_eq "$(sed -n 2p "$T/out")" '"fine"'
	check_eq "$(grep -c 'Init Duration' "$T/err")" 1 # the same cell
	check_contains "$T/err" '[ERROR] Odd: no'
	cell_status 1 --json "$T/app.py" --event '{"bad":1}'
	check_ask '.calls[0].errorDocument.stackTrace | length > 0' true
	check_world
}

test_what_cannot_be_loaded_says_why() {
	need_root
	printf 'def handler(event, context):\n    return (\n' | app
	cell_status 1 "$T/app.py"
	check_ask .errorType Runtime.UserCodeSyntaxError
	check_contains "$T/out" app.py
	printf 'import no_such_thing\n' | app
	cell_status 1 "$T/app.py"
	check_ask .errorType Runtime.ImportModuleError
	check_contains "$T/out" no_such_thing
	printf 'handler = 7\n' | app
	cell_status 1 "$T/app.py"
	check_ask '.errorType | startswith("Runtime.")' true
	printf '1/0\n' | app
	cell_status 1 "$T/app.py"
	check_contains "$T/out" ZeroDivisionError
}

test_bad_events_and_answers_are_named() {
	need_root
	printf 'def handler(event, context):\n    return {1, 2}\n' | app
	cell_status 1 "$T/app.py"
	check_ask .errorType Runtime.MarshalError
	check_contains "$T/out" 'not JSON serializable'
	cell_status 1 "$T/app.py" --event '{bad'
	check_ask .errorType Runtime.UnmarshalError
	printf 'def handler(event, context):\n    return "x" * event\n' | app
	cell_status 0 --timeout "$LONG" "$T/app.py" --event 6291454
	check_eq "$(wc -c <"$T/out")" 6291456
	cell_status 1 --timeout "$LONG" "$T/app.py" --event 6291600
	check_ask .errorType Function.ResponseSizeTooLarge
}

test_limits_and_ends_are_as_for_any_function() {
	need_root
	watch_world
	printf 'def handler(event, context):\n    while True: pass\n' | app
	cell_status 124 --timeout 0.5 "$T/app.py"
	check_contains "$T/err" 'Task timed out after 0.50 seconds'
	printf 'def handler(event, context):\n    return len(bytearray(300 << 20))\n' | app
	cell_status 137 --mem 64 "$T/app.py"
	printf 'import os\ndef handler(event, context):\n    os._exit(3)\n' | app
	cell_status 1 "$T/app.py"
	check_contains "$T/out" 'exit status 3'
	printf 'import ctypes\ndef handler(event, context):\n    ctypes.string_at(0)\n' | app
	cell_status 139 "$T/app.py"
	check_world
}

test_output_and_logging_are_records_of_the_log() {
	need_root
	app <<-'END'
		import logging, sys
		logging.getLogger().setLevel("INFO")
		def handler(event, context):
		    print("to stdout")
		    sys.stderr.write("to stderr\n")
		    logging.info("one\ntwo")
		    logging.debug("not this")
		    return 1
	END
	cell_status 0 "$T/app.py"
	check_contains "$T/err" 'to stdout'
	check_contains "$T/err" 'to stderr'
	check_matches "$T/err" '^\[INFO\]	[0-9-]+T[0-9:.]+Z	[0-9a-f-]{36}	one.two'
	check_lacks "$T/err" 'not this'
	cell_status 0 --env AWS_LAMBDA_LOG_FORMAT=JSON "$T/app.py"
	grep '^{' "$T/err" >"$T/records"
	check_eq "$(jq -r 'select(.level == "INFO").message' "$T/records")" 'one
two'
}

test_a_package_and_its_layers_are_found_by_import() {
	need_root
	watch_world
	printf 'import helper, layered, over\ndef main(event, context):\n    return [helper.X, layered.X, over.X]\n' | app pkg/src/app.py
	echo 'X = "package"' | app pkg/helper.py
	echo 'X = "layer"' | app l1/python/layered.py
	echo 'X = "first"' | app l1/python/over.py
	echo 'X = "second"' | app l2/python/over.py
	chmod 755 "$T/l1" "$T/l2" "$T/pkg"
	cell_status 0 --runtime python --handler src/app.main --layer "$T/l1" --layer "$T/l2" "$T/pkg"
	check_eq "$(cat "$T/out")" '["package", "layer", "second"]'
	check_world
}

test_a_wrapper_gets_the_interpreter_as_its_arguments() {
	own_store
	printf 'import os\ndef handler(event, context):\n    return os.environ["FROM_WRAPPER"]\n' | app
	mkdir -p "$T/layer"
	printf '#!/bin/sh\nexport FROM_WRAPPER="${1##*/} ${2##*/}"\nexec "$@"\n' >"$T/layer/wrap"
	chmod 755 "$T/layer" "$T/layer/wrap"
	cell_status 0 --layer "$T/layer" --env AWS_LAMBDA_EXEC_WRAPPER=/opt/wrap "$T/app.py"
	check_matches "$T/out" '^"python3[.0-9]* main.py"$'
	cell_status 0 --snapshot --layer "$T/layer" --env AWS_LAMBDA_EXEC_WRAPPER=/opt/wrap "$T/app.py"
	cell_status 0 --snapshot=require --layer "$T/layer" --env AWS_LAMBDA_EXEC_WRAPPER=/opt/wrap "$T/app.py"
	restored
	check_matches "$T/out" '^"python3[.0-9]* main.py"$'
	cell_status 126 --env AWS_LAMBDA_EXEC_WRAPPER=/opt/none "$T/app.py"
	check_store
}

test_a_strict_policy_is_imposed_after_init() {
	need_root
	app <<-'END'
		import os
		def handler(event, context):
		    if event == 2:
		        raise ValueError("told")
		    return os.listdir("/") if event else "calm"
	END
	cell_status 1 --policy strict "$T/app.py" --event 2 --event 0
	sed -n 1p "$T/out" >"$T/out.json"
	check_eq "$(jq -c '[.errorType, (.stackTrace[0] | contains("raise ValueError"))]' "$T/out.json")" '["ValueError",true]'
	check_eq "$(sed -n 2p "$T/out")" '"calm"'
	check_eq "$(grep -c 'Init Duration' "$T/err")" 1 # the same cell
	cell --policy strict "$T/app.py" --event 0 --event 1
	check_eq "$(sed -n 1p "$T/out")" '"calm"'
	check_eq "$status" 159
	check_contains "$T/err" 'refused'
}

test_ten_clones_of_a_snapshot_differ_and_hooks_run() {
	own_store
	app <<-'END'
		import json, os, random, secrets, ssl, tempfile, uuid
		from snapshot_restore_py import register_before_snapshot, register_after_restore
		random.seed(7)
		mine = random.Random(7)
		said = []
		@register_before_snapshot
		def one(): said.append("before 1")
		@register_before_snapshot
		def two(): said.append("before 2")
		@register_after_restore
		def three(): said.append("after 3")
		@register_after_restore
		def four(): said.append("after 4")
		def handler(event, context):
		    return {"random": random.random(), "uuid": str(uuid.uuid4()), "ssl": ssl.RAND_bytes(8).hex(),
		            "secrets": secrets.token_hex(8), "name": next(tempfile._get_candidate_names()),
		            "said": said, "stream": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]}
	END
	snapshot_status 0 create "$T/app.py"
	for i in 1 2 3 4 5 6 7 8 9 10; do
		cell_status 0 --snapshot=require "$T/app.py"
		restored
		check_ask '.said | tojson' '["before 2","before 1","after 3","after 4"]'
		cat "$T/out" >>"$T/all"
		echo >>"$T/all"
	done
	for key in random uuid ssl secrets name stream; do
		check_eq "$(jq -r ".$key" "$T/all" | sort -u | wc -l)" 10
	done
	check_store
}

test_hooks_that_fail_have_lambdas_types() {
	own_store
	printf 'from snapshot_restore_py import *\n@register_before_snapshot\ndef b(): raise ValueError("no")\ndef handler(e, c): return 1\n' | app
	snapshot create "$T/app.py"
	check_eq "$status" 1
	check_contains "$T/err" Runtime.BeforeSnapshotError
	printf 'from snapshot_restore_py import *\n@register_after_restore\ndef a(): raise ValueError("no")\ndef handler(e, c): return 1\n' | app
	snapshot create "$T/app.py"
	check_eq "$status" 1
	check_contains "$T/err" Runtime.AfterRestoreError
	check_store
}

test_an_interpreter_that_is_not_there_is_named_with_its_package() {
	need_root
	mkdir -p "$T/root/usr/bin" "$T/root/tmp"
	printf 'def handler(e, c): return 1\n' | app
	cell_status 127 --rootfs "$T/root" "$T/app.py"
	check_contains "$T/err" /usr/bin/python3
	check_contains "$T/err" 'Debian package python3'
}

run_tests "$@"
