#!/bin/sh
# Bad input: each gets a sentence that names the thing and, where there is one, the remedy; the exit status of the table;
# and nothing on the machine changes.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

# STATUS WORDS… -- ARGUMENTS: fsbox run fails with that status, and every word stands in the message.
refuses() {
	refuses_status=$1
	shift
	: >"$T/words"
	while [ "$1" != -- ]; do
		printf '%s\n' "$1" >>"$T/words"
		shift
	done
	shift
	cell "$@"
	check_eq "$status" "$refuses_status"
	while read -r word; do
		check_contains "$T/err" "$word"
	done <"$T/words"
	check_matches "$T/err" '^fsbox: '
	check_eq "$(wc -c <"$T/out")" 0
	check_lacks "$T/err" "START"
	# one sentence, the rest are hints: no usage text, no second error
	check_eq "$(grep -vc '^fsbox: hint: ' "$T/err")" 1
	check_lacks "$T/err" "(null)"
}

test_a_target_that_is_missing_is_127_with_its_name() {
	watch_world
	each_mode check_missing
	check_world
}
check_missing() {
	refuses 127 "$T/nothing.so" "No such file" -- "$T/nothing.so"
	refuses 127 "$T/nothing.so" -- "$T/nothing.so" --mem 64 --event 1
	refuses 127 -- ''
}

test_no_target_is_bad_usage() {
	need_root
	refuses 2 "TARGET" "hint:" -- --mem 64
	refuses 2 "TARGET" --
	refuses 2 "one TARGET" -- "$FUNCTIONS/echo.so" "$FUNCTIONS/echo.so"
}

test_a_target_that_is_no_shared_object_for_this_machine_is_126_and_says_what_it_is() {
	watch_world
	need_root
	: >"$T/empty.so"
	refuses 126 "$T/empty.so" "empty" "hint:" -- "$T/empty.so"
	printf '#!/bin/sh\necho hello\n' >"$T/script.so"
	refuses 126 "$T/script.so" "script" "hint:" -- "$T/script.so"
	echo 'int fsbox_handler;' >"$T/source.c"
	refuses 126 "$T/source.c" "ELF" "hint:" -- "$T/source.c"
	head -c 40 "$FUNCTIONS/echo.so" >"$T/short.so"
	refuses 126 "$T/short.so" "truncated" -- "$T/short.so"
	# byte 18: e_machine
	for machine in '\267' '\003' '\363'; do
		cp "$FUNCTIONS/echo.so" "$T/other.so"
		# shellcheck disable=SC2059 # an escape
		printf "$machine" | dd of="$T/other.so" bs=1 seek=18 conv=notrunc 2>/dev/null
		[ "$(od -An -tx1 -j18 -N1 "$FUNCTIONS/echo.so")" != "$(od -An -tx1 -j18 -N1 "$T/other.so")" ] || continue
		refuses 126 "$T/other.so" "built for" "hint:" -- "$T/other.so"
	done
	# a relocatable object: e_type 1
	cp "$FUNCTIONS/echo.so" "$T/object.so"
	printf '\001' | dd of="$T/object.so" bs=1 seek=16 conv=notrunc 2>/dev/null
	refuses 126 "$T/object.so" "not a shared object" -- "$T/object.so"
	refuses 126 "$T" -- "$T"
	refuses 126 /dev/null -- /dev/null
	mkfifo "$T/fifo.so"
	refuses 126 "$T/fifo.so" -- "$T/fifo.so"
	check_world
}

test_an_executable_is_not_a_function() {
	watch_world
	need_root
	# a static program, no dynamic section that dlopen(3) could use
	refuses 126 "init" "not a shared object" -- --runtime native "$FSBOX_BUILD/runtime/init"
	# a position-independent one passes for a shared object by its head; loading it says so
	cell --runtime native /bin/true
	check_ne "$status" 0
	check_ask .errorType Runtime.ImportModuleError
	# left to itself it is a custom runtime, which this one is not: it ends without asking for an event
	cell /bin/true
	check_eq "$status" 1
	check_ask .errorType Runtime.ExitError
	check_world
}

test_a_root_without_the_loader_is_named() {
	need_root
	watch_world
	mkdir -p "$T/root/usr"
	chmod 755 "$TAP_DIR" "$T" "$T/root"
	refuses 127 "loader /lib" "glibc" -- --rootfs "$T/root" "$FUNCTIONS/echo.so"
	check_world
}

test_a_shared_object_that_is_cut_off_fails_its_init() {
	watch_world
	need_root
	head -c 6000 "$FUNCTIONS/echo.so" >"$T/cut.so"
	chmod 755 "$TAP_DIR" "$T"
	# the dynamic linker refuses it, or stumbles over the pages that are not there
	cell "$T/cut.so"
	check_ne "$status" 0
	check_ask '.errorType | startswith("Runtime.")' true
	check_matches "$T/err" "^INIT_REPORT .*Status: error"
	check_world
}

check_unreadable() {
	cp "$FUNCTIONS/echo.so" "$T/private-$MODE.so"
	chmod 600 "$T/private-$MODE.so"
	chmod 755 "$TAP_DIR" "$T"
	if [ "$MODE" = root ]; then
		refuses 126 "$T/private-$MODE.so" "600" "chmod o+r" "(stage plan)" -- "$T/private-$MODE.so"
	else
		refuses 126 "$T/private-$MODE.so" "Permission denied" -- "$T/private-$MODE.so"
	fi
}
test_a_target_that_cannot_be_read_is_named_with_its_mode_and_the_remedy() {
	watch_world
	each_mode check_unreadable
	check_world
}

test_memory_outside_of_its_range_is_named_with_the_range() {
	watch_world
	need_root
	for value in 0 15 -1 1.5 64M '' ' 64' 0x40 18446744073709551616; do
		refuses 2 --mem "expected megabytes" "16" "got '$value'" -- --mem "$value" "$FUNCTIONS/echo.so"
	done
	refuses 2 --mem 99999999 "this host has" -- --mem 99999999 "$FUNCTIONS/echo.so"
	refuses 2 --mem -- "$FUNCTIONS/echo.so" --mem
	check_world
}

test_a_timeout_outside_of_its_range_is_named_with_the_range() {
	watch_world
	need_root
	for value in -1 0 900.1 901 1e2 '' 3s 1,5 nan 1.0000000001 99999999999999999999; do
		refuses 2 --timeout "900" "got '$value'" -- --timeout "$value" "$FUNCTIONS/echo.so"
	done
	check_world
}

test_other_options_out_of_range_name_what_they_take() {
	watch_world
	need_root
	refuses 2 --pids "got '3'" -- --pids 3 "$FUNCTIONS/echo.so"
	refuses 2 --pids "got '4194305'" -- --pids 4194305 "$FUNCTIONS/echo.so"
	refuses 2 --tmp "got '0'" -- --tmp 0 "$FUNCTIONS/echo.so"
	refuses 2 --tmp "10240" -- --tmp 10241 "$FUNCTIONS/echo.so"
	refuses 2 --net "none, loopback or host" "got 'bridge'" -- --net bridge "$FUNCTIONS/echo.so"
	refuses 2 --log-format "text or json" -- --log-format xml "$FUNCTIONS/echo.so"
	refuses 2 --name "a-z" -- --name 'a/b' "$FUNCTIONS/echo.so"
	refuses 2 --name -- --name "$(printf %065d 0)" "$FUNCTIONS/echo.so"
	refuses 2 --nonsense -- --nonsense "$FUNCTIONS/echo.so"
	refuses 2 --json -- --json=yes "$FUNCTIONS/echo.so"
	refuses 2 --mem -- --mem 64 --mem 128 "$FUNCTIONS/echo.so"
	refuses 2 --no-limits --cgroup-parent -- --no-limits --cgroup-parent /x "$FUNCTIONS/echo.so"
	check_world
}

test_variables_that_are_none_or_belong_to_the_cell_are_named() {
	watch_world
	need_root
	refuses 2 --env "KEY=VALUE" "got 'NOTHING'" -- --env NOTHING "$FUNCTIONS/echo.so"
	refuses 2 --env "=x" -- --env =x "$FUNCTIONS/echo.so"
	refuses 2 --env "A B" -- --env 'A B=x' "$FUNCTIONS/echo.so"
	refuses 2 --env "1A" -- --env '1A=x' "$FUNCTIONS/echo.so"
	refuses 2 _HANDLER "set by the cell" -- --env _HANDLER=x "$FUNCTIONS/echo.so"
	refuses 2 "4096" -- --env "A=$(printf %04096d 0)" "$FUNCTIONS/echo.so"
	printf 'A=1\n\n# comment\nB\n' >"$T/env"
	refuses 2 "$T/env:4" "got 'B'" -- --env-file "$T/env" "$FUNCTIONS/echo.so"
	check_world
}

test_a_file_named_by_an_option_that_is_not_there_is_bad_usage() {
	watch_world
	need_root
	refuses 2 --env-file "$T/missing" "No such file" -- --env-file "$T/missing" "$FUNCTIONS/echo.so"
	refuses 2 --spec "$T/missing" "No such file" -- --spec "$T/missing" "$FUNCTIONS/echo.so"
	refuses 2 --spec "$T" -- --spec "$T" "$FUNCTIONS/echo.so"
	check_world
}

test_an_event_over_6_mb_is_refused_before_anything_runs() {
	watch_world
	need_root
	head -c 6291457 /dev/zero >"$T/big"
	refuses 2 --event "6291456" -- --event "@$T/big" "$FUNCTIONS/echo.so"
	status=0
	"$FSBOX" run --event - "$FUNCTIONS/echo.so" <"$T/big" >"$T/out" 2>"$T/err" || status=$?
	check_eq "$status" 2
	check_contains "$T/err" 6291456
	check_lacks "$T/err" START
	check_world
}

test_an_event_that_is_refused_later_in_the_list_stops_all_of_it_before_anything_runs() {
	watch_world
	need_root
	head -c 6291457 /dev/zero >"$T/big"
	refuses 2 "6291456" -- --event 1 --event "@$T/big" "$FUNCTIONS/echo.so"
	refuses 2 "$T/missing" -- --event 1 --event "@$T/missing" "$FUNCTIONS/echo.so"
	check_world
}

test_a_missing_event_file_is_named() {
	watch_world
	need_root
	refuses 2 "$T/missing" "No such file" -- --event "@$T/missing" "$FUNCTIONS/echo.so"
	refuses 2 "$T" -- --event "@$T" "$FUNCTIONS/echo.so"
	check_world
}

test_six_layers_are_one_too_many() {
	watch_world
	need_root
	mkdir "$T/l"
	refuses 2 --layer "$T/l" "at most 5" -- --layer "$T/l" --layer "$T/l" --layer "$T/l" --layer "$T/l" \
		--layer "$T/l" --layer "$T/l" "$FUNCTIONS/echo.so"
	check_world
}

test_a_layer_that_is_a_file_or_missing_or_unreadable_is_named() {
	watch_world
	need_root
	chmod 755 "$TAP_DIR" "$T"
	echo file >"$T/file"
	refuses 2 "$T/file" "not a directory" -- --layer "$T/file" "$FUNCTIONS/echo.so"
	refuses 2 "$T/missing" "No such file" -- --layer "$T/missing" "$FUNCTIONS/echo.so"
	mkdir "$T/closed"
	chmod 700 "$T/closed"
	refuses 2 "$T/closed" "700" "chmod o+rx" -- --layer "$T/closed" "$FUNCTIONS/echo.so"
	check_world
}

test_a_rootfs_that_is_a_file_or_missing_is_named() {
	watch_world
	need_root
	echo file >"$T/file"
	refuses 2 "$T/file" "not a directory" -- --rootfs "$T/file" "$FUNCTIONS/echo.so"
	refuses 2 "$T/missing" "No such file" -- --rootfs "$T/missing" "$FUNCTIONS/echo.so"
	check_world
}

test_an_unknown_policy_is_named_with_those_there_are() {
	watch_world
	need_root
	refuses 2 "no policy 'strickt'" "default, strict, python, node, custom and none" -- --policy strickt "$FUNCTIONS/echo.so"
	check_world
}

test_bad_policies_are_refused_with_their_place() {
	watch_world
	need_root
	printf '{\n  "defaultAction": "SCMP_ACT_ERRNO",\n  "syscalls": [{"names": ["read", "frobnicate"], "action": "SCMP_ACT_ALLOW"}]\n}\n' >"$T/unknown.json"
	refuses 2 "$T/unknown.json" "frobnicate" '$.syscalls[0].names' -- --policy "$T/unknown.json" "$FUNCTIONS/echo.so"
	printf '{\n  "defaultAction": \n}\n' >"$T/syntax.json"
	refuses 2 "$T/syntax.json:3:" -- --policy "$T/syntax.json" "$FUNCTIONS/echo.so"
	printf '{"defaultAction": "SCMP_ACT_ALLOW", "defaultAction": "SCMP_ACT_KILL"}\n' >"$T/twice.json"
	refuses 2 "$T/twice.json:1:" "defaultAction" -- --policy "$T/twice.json" "$FUNCTIONS/echo.so"
	printf '{"defaultAction": "ALLOW"}\n' >"$T/action.json"
	refuses 2 "$T/action.json" '$.defaultAction' "ALLOW" -- --policy "$T/action.json" "$FUNCTIONS/echo.so"
	: >"$T/nothing.json"
	refuses 2 "$T/nothing.json" -- --policy "$T/nothing.json" "$FUNCTIONS/echo.so"
	refuses 2 "$T/missing.json" "No such file" -- --policy "$T/missing.json" "$FUNCTIONS/echo.so"
	check_world
}

spec() { # TEXT: of a spec file
	printf '%s' "$1" >"$T/cell.json"
}

test_bad_specs_are_refused_with_line_and_column_or_path() {
	watch_world
	need_root
	spec '{
  "mem": 64,,
}'
	refuses 2 "$T/cell.json:2:" -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	spec '{"mem": 64, "mem": 128}'
	refuses 2 "$T/cell.json:1:" "mem" -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	spec '{"memory": 64}'
	refuses 2 "$T/cell.json" '$.memory' "unknown key" -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	spec '{"spec": "x"}'
	refuses 2 '$.spec' -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	spec '{"mem": "lots"}'
	refuses 2 '$.mem' "got 'lots'" -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	spec '{"mem": true}'
	refuses 2 '$.mem' "got true or false" -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	spec '{"layer": "x"}'
	refuses 2 '$.layer' "array" -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	spec '{"layer": ["/a", 7, {}]}'
	refuses 2 '$.layer[2]' -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	spec '{"env": {"A": []}}'
	refuses 2 '$.env.A' -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	spec '{"no-limits": 1}'
	refuses 2 '$.no-limits' "true or false" -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	spec '[]'
	refuses 2 "object" -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	spec ''
	refuses 2 "$T/cell.json" -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	spec '{"name": "a\u0000b"}'
	cell --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	check_eq "$status" 2
	head -c 2000000 /dev/zero | tr '\000' ' ' >"$T/cell.json"
	refuses 2 "$T/cell.json" -- --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	check_world
}

check_no_cgroup_access() {
	# shellcheck disable=SC2046
	run in_mode "$FSBOX" run "$FUNCTIONS/echo.so"
	check_eq "$status" 125
	check_contains "$T/err" "cgroup"
	check_contains "$T/err" "hint:"
	check_lacks "$T/err" START
	# the remedy: the delegation, or the explicit wish to go without
	check_matches "$T/err" 'chown|--no-limits|--cgroup-parent'
}
test_without_access_to_cgroups_the_missing_delegation_is_named() {
	watch_world
	each_mode check_no_cgroup_access user userns
	check_world
}

test_a_cgroup_parent_that_cannot_be_is_named() {
	watch_world
	need_root
	for parent in '' relative/../up /../x /a//b "/$(printf %0300d 0)"; do
		cell --cgroup-parent "$parent" "$FUNCTIONS/echo.so"
		[ "$status" = 2 ] || [ "$status" = 125 ] || {
			show
			fail "--cgroup-parent '$parent': exit status $status"
		}
		check_matches "$T/err" '^fsbox: '
	done
	check_world
}

test_no_command_and_unknown_commands_are_bad_usage() {
	check_status 2 "$FSBOX"
	check_status 2 "$FSBOX" frobnicate
	check_contains "$T/err" frobnicate
	check_status 2 "$FSBOX" help frobnicate
	check_status 0 "$FSBOX" --help
	check_status 0 "$FSBOX" help run
	check_contains "$T/out" --mem
	check_status 0 "$FSBOX" run --help
	check_status 0 "$FSBOX" --version
	check_matches "$T/out" '^fsbox [0-9]+\.[0-9]+'
}

run_tests "$@"
