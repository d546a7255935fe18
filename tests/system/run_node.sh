#!/bin/sh
# Node.js functions in cells: what the runtime's own tests cannot see, from the command line to the log, in every mode, and
# through snapshots. The runtime without a cell: tests/unit/test_runtime_node.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/snapshot.sh
. "$(dirname "$0")/../lib/snapshot.sh"
LONG=$((20 * ${FSBOX_SLOWER:-1})) # seconds for what is not about time

[ -x /usr/bin/node ] || {
	echo '1..0 # SKIP there is no /usr/bin/node'
	exit 0
}
MEM=256 # V8 alone takes some 50 MB

# The program from stdin as $T/app.mjs, or NAME below $T.
app() { # [NAME]
	mkdir -p "$T/$(dirname "${1:-app.mjs}")"
	cat >"$T/${1:-app.mjs}"
	chmod 755 "$TAP_DIR" "$T" "$T/$(dirname "${1:-app.mjs}")"
	chmod 644 "$T/${1:-app.mjs}"
}

# Under emulation the start of an interpreter takes seconds.
node_cell() { # STATUS fsbox run's arguments
	node_status=$1
	shift
	cell_status "$node_status" --mem "$MEM" "$@"
}

check_cold_and_warm() {
	app <<-'END'
		let n = 0;
		export const handler = async (event, context) => ({n: ++n, event, uid: process.getuid(), name: context.functionName});
	END
	node_cell 0 "$T/app.mjs" --event '{"a":[1,2]}' --event '"x"' --event null
	check_eq "$(sed -n 1p "$T/out")" '{"n":1,"event":{"a":[1,2]},"uid":993,"name":"app"}'
	check_eq "$(sed -n 2p "$T/out")" '{"n":2,"event":"x","uid":993,"name":"app"}'
	check_eq "$(sed -n 3p "$T/out")" '{"n":3,"event":null,"uid":993,"name":"app"}'
	check_eq "$(grep -c 'Init Duration' "$T/err")" 1
}
test_a_module_is_a_function_and_its_globals_live_on() {
	watch_world
	each_mode check_cold_and_warm
	check_world
}

test_every_form_of_handler_and_module() {
	need_root
	echo 'exports.handler = async e => "cjs " + e' | app app.cjs
	node_cell 0 "$T/app.cjs" --event 1
	check_eq "$(cat "$T/out")" '"cjs 1"'
	echo 'exports.handler = (event, context, done) => setTimeout(() => done(null, "callback"), 5)' | app app.js
	node_cell 0 "$T/app.js"
	check_eq "$(cat "$T/out")" '"callback"'
	echo 'exports.main = async () => {}; exports.other = async () => "other"' | app app.js
	node_cell 0 --handler app.other "$T/app.js"
	check_eq "$(cat "$T/out")" '"other"'
	app <<-'END'
		export const handler = awslambda.streamifyResponse(async (event, stream) => {
		    stream.write("one ");
		    await new Promise(r => setTimeout(r, 5));
		    stream.write("two");
		    stream.end();
		});
	END
	node_cell 0 "$T/app.mjs"
	check_eq "$(cat "$T/out")" 'one two'
}

test_errors_are_lambdas_documents_and_the_next_call_goes_on() {
	need_root
	watch_world
	app <<-'END'
		class Odd extends Error { constructor(m) { super(m); this.name = "Odd"; } }
		export const handler = async event => { if (event.bad) throw new Odd("no such luck"); return "fine"; };
	END
	node_cell 1 "$T/app.mjs" --event '{"bad":1}' --event '{}'
	sed -n 1p "$T/out" >"$T/first"
	check_eq "$(jq -c '[.errorType, .errorMessage]' "$T/first")" '["Odd","no such luck"]'
	check_eq "$(jq -r '.trace | join("\n")' "$T/first" | grep -c 'app.mjs')" 1
	check_eq "$(sed -n 2p "$T/out")" '"fine"'
	check_eq "$(grep -c 'Init Duration' "$T/err")" 1
	check_world
}

test_what_cannot_be_loaded_or_does_not_answer_says_why() {
	need_root
	# Node is started once more to find the line, and init runs again in the first call.
	printf '\nexport const handler = 1 1\n' | app
	node_cell 1 --timeout "$LONG" "$T/app.mjs"
	check_ask .errorType Runtime.UserCodeSyntaxError
	check_contains "$T/out" '/var/task/app.mjs:2"'
	echo 'import "no-such-thing"; export const handler = async () => 1' | app
	node_cell 1 "$T/app.mjs"
	check_ask .errorType Runtime.ImportModuleError
	echo 'export const other = 1' | app
	node_cell 1 "$T/app.mjs"
	check_ask .errorType Runtime.HandlerNotFound
	echo 'export const handler = async () => { process.exit(3) }' | app
	node_cell 1 "$T/app.mjs"
	check_ask '.errorType | startswith("Runtime.")' true
	echo 'export const handler = async () => { Promise.reject(new Error("lost")); await new Promise(r => setTimeout(r, 200)); return 1 }' | app
	node_cell 1 "$T/app.mjs"
	check_ask .errorType Runtime.UnhandledPromiseRejection
	echo 'export const handler = async () => 1n' | app
	node_cell 1 "$T/app.mjs"
	check_ask .errorType Runtime.MarshalError
	node_cell 1 "$T/app.mjs" --event '{bad'
}

test_large_answers_and_those_that_are_too_large() {
	need_root
	echo 'export const handler = async n => "x".repeat(n)' | app
	node_cell 0 --timeout "$LONG" "$T/app.mjs" --event 6291454
	check_eq "$(wc -c <"$T/out")" 6291456
	node_cell 1 --timeout "$LONG" "$T/app.mjs" --event 6291600
	check_ask .errorType Function.ResponseSizeTooLarge
}

test_limits_and_ends_are_as_for_any_function() {
	need_root
	watch_world
	echo 'export const handler = async () => { for (;;); }' | app
	node_cell 124 --timeout 0.5 "$T/app.mjs"
	check_contains "$T/err" 'Task timed out after 0.50 seconds'
	echo 'export const handler = async () => Buffer.alloc(600 << 20, 1).length' | app
	node_cell 137 "$T/app.mjs"
	echo 'import net from "net"; export const handler = () => new Promise(r => { const s = net.createServer(c => c.end("in")).listen(0, "127.0.0.1", () => net.connect(s.address().port, "127.0.0.1").on("data", d => { s.close(); r(String(d)) })) })' | app
	node_cell 0 "$T/app.mjs"
	check_eq "$(cat "$T/out")" '"in"'
	check_world
}

# Whether it is enough depends on the version of Node (docs/runtimes.md); but what is refused is named, and nothing hangs.
test_a_strict_policy_is_enough_or_says_what_it_refused() {
	need_root
	app <<-'END'
		export const handler = async () => {
			const kept = [];
			for (let i = 0; i < 500000; i++) kept.push({i});
			await new Promise(r => setTimeout(r, 2));
			console.log("worked");
			return kept.length;
		};
	END
	for i in 1 2 3 4; do
		cell --mem "$MEM" --timeout "$LONG" --policy strict "$T/app.mjs"
		case $status in
		0) check_eq "$(cat "$T/out")" 500000 ;;
		159) check_contains "$T/out" "policy 'strict' refused " ;;
		*) fail "exit status $status" ;;
		esac
	done
	echo 'import fs from "fs"; export const handler = async () => fs.readFileSync("/etc/passwd").length' | app
	node_cell 159 --policy strict "$T/app.mjs"
	check_contains "$T/out" "policy 'strict' refused "
}

test_console_is_lambdas_log() {
	need_root
	app <<-'END'
		export const handler = async () => { console.log("one\ntwo"); console.error("bad"); console.debug("detail"); return 1 };
	END
	node_cell 0 "$T/app.mjs"
	check_matches "$T/err" '^[0-9-]+T[0-9:.]+Z	[0-9a-f-]{36}	INFO	one.two'
	check_matches "$T/err" '	ERROR	bad$'
	node_cell 0 --env AWS_LAMBDA_LOG_FORMAT=JSON "$T/app.mjs"
	grep '^{' "$T/err" >"$T/records"
	check_eq "$(jq -r 'select(.level == "INFO").message' "$T/records")" 'one
two'
}

test_a_package_and_its_layers_are_found() {
	need_root
	watch_world
	echo 'export {X as default} from "dep"; import l from "layered"; import X from "dep"; export const main = async () => [X, l]' | app pkg/src/app.mjs
	echo 'module.exports = "package"' | app pkg/node_modules/dep/index.js
	echo 'module.exports = "layer"' | app l1/nodejs/node_modules/layered/index.js
	sed -i 's/export {X as default} from "dep"; //; s/import l from "layered"/import {createRequire} from "module"; const l = createRequire(import.meta.url)("layered")/' "$T/pkg/src/app.mjs"
	find "$T/pkg" "$T/l1" -type d -exec chmod 755 {} +
	node_cell 0 --runtime node --handler src/app.main --layer "$T/l1" "$T/pkg"
	check_eq "$(cat "$T/out")" '["package","layer"]'
	check_world
}

test_ten_clones_of_a_snapshot_differ_and_hooks_run() {
	own_store
	app <<-'END'
		import crypto from "crypto";
		import {onBeforeSnapshot, onAfterRestore} from "fsbox";
		const said = [];
		Math.random(); crypto.randomUUID(); crypto.randomInt(1 << 30);
		onBeforeSnapshot(async () => { said.push("before 1") });
		onBeforeSnapshot(() => { said.push("before 2") });
		onAfterRestore(async () => { said.push("after 3") });
		onAfterRestore(() => { said.push("after 4") });
		export const handler = async () => ({random: Math.random(), uuid: crypto.randomUUID(), int: crypto.randomInt(2 ** 40),
			bytes: crypto.randomBytes(8).toString("hex"), web: crypto.webcrypto.getRandomValues(new Uint32Array(2)).join(),
			said, stream: process.env.AWS_LAMBDA_LOG_STREAM_NAME});
	END
	snapshot_status 0 create --mem "$MEM" "$T/app.mjs"
	for i in 1 2 3 4 5 6 7 8 9 10; do
		node_cell 0 --snapshot=require "$T/app.mjs"
		restored
		check_ask '.said | tojson' '["before 2","before 1","after 3","after 4"]'
		cat "$T/out" >>"$T/all"
		echo >>"$T/all"
	done
	for key in random uuid int bytes web stream; do
		check_eq "$(jq -r ".$key" "$T/all" | sort -u | wc -l)" 10
	done
	check_store
}

test_a_worker_at_the_snapshot_needs_consent() {
	own_store
	app <<-'END'
		import {Worker} from "worker_threads";
		new Worker("setInterval(() => {}, 1e6)", {eval: true}).unref();
		export const handler = async () => 1;
	END
	snapshot_status 0 create --mem "$MEM" "$T/app.mjs"
	cell --snapshot=require --mem "$MEM" "$T/app.mjs"
	check_ne "$status" 0
	check_contains "$T/err" unseeded
	node_cell 0 --snapshot=unseeded "$T/app.mjs"
	restored
	check_store
}

test_hooks_that_fail_have_lambdas_types() {
	own_store
	echo 'fsbox.onBeforeSnapshot(() => { throw new Error("no") }); exports.handler = async () => 1' | app app.cjs
	snapshot create --mem "$MEM" "$T/app.cjs"
	check_eq "$status" 1
	check_contains "$T/err" Runtime.BeforeSnapshotError
	echo 'fsbox.onAfterRestore(async () => { throw new Error("no") }); exports.handler = async () => 1' | app app.cjs
	snapshot create --mem "$MEM" "$T/app.cjs"
	check_eq "$status" 1
	check_contains "$T/err" Runtime.AfterRestoreError
	check_store
}

run_tests "$@"
